{
  description = "Is every NixOS system running the latest commit of its flake, and if not, how far behind?";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      eachSystem = nixpkgs.lib.genAttrs [
        "x86_64-linux"
        "aarch64-linux"
      ];
      pkgsOf = system: nixpkgs.legacyPackages.${system};
    in
    {
      packages = eachSystem (system: {
        default = (pkgsOf system).callPackage ./deploy/nixos/package.nix { };
      });

      nixosModules.default =
        { lib, pkgs, ... }:
        {
          imports = [ ./deploy/nixos/module.nix ];
          services.flakelag.package =
            lib.mkDefault
              self.packages.${pkgs.stdenv.hostPlatform.system}.default;
        };

      formatter = eachSystem (system: (pkgsOf system).nixfmt-tree);
    };
}
