# Evaluates the flake of a folder as nixpkgs would, with a stand-in for nixpkgs.
{ root, definitions }:
let
  lib = import ./lib.nix;
  system = "x86_64-linux";

  names = map (requirement: builtins.head (builtins.match "([a-z0-9-]+).*" requirement)) (
    (lib.importTOML (root + "/pyproject.toml")).project.dependencies
  );
  # Of Python's packages there are those that pyproject.toml names, and no other.
  pythonPackages =
    lib.genAttrs names (name: {
      inherit name;
      optional-dependencies = {
        c = [ { name = "psycopg-c"; } ];
        standard = [ { name = "uvicorn-standard"; } ];
      };
    })
    // {
      setuptools.name = "setuptools";
      buildPythonPackage = package: package;
    };
  pkgs = {
    stdenv.hostPlatform.system = system;
    nixfmt-tree.name = "nixfmt-tree";
    python3 = {
      pkgs = pythonPackages;
      withPackages =
        select:
        let
          package = builtins.head (select pythonPackages);
        in
        {
          inherit package;
          outPath = "/nix/store/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee-python3-env";
        };
    };
    callPackage = path: given: import path ({ inherit lib; inherit (pkgs) python3; } // given);
  };
  flake = (import (root + "/flake.nix")).outputs {
    self = flake;
    nixpkgs = {
      inherit lib;
      legacyPackages = {
        x86_64-linux = pkgs;
        aarch64-linux = pkgs;
      };
    };
  };

  outer = flake.nixosModules.default { inherit lib pkgs; };
  inner = import (builtins.head outer.imports) {
    inherit lib pkgs;
    config.services.flakelag = lib.valuesOf "services.flakelag" inner.options.services.flakelag (
      outer.services.flakelag // definitions
    );
  };
  inherit (flake.packages.${system}.default) package;
in
{
  names = names;
  options = builtins.mapAttrs (_: option: option.description or "a group") inner.options.services.flakelag;
  inherit (inner) config;
  formatter = flake.formatter.${system}.name;
  package = {
    inherit (package) pname version meta src;
    dependencies = map (dependency: dependency.name) package.dependencies;
  };
}
