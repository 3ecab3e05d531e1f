# A stand-in for the little of nixpkgs' lib that our files use. It knows types enough to refuse a
# value of another one; it merges nothing, since there is one module and one set of definitions.
rec {
  type = name: check: { inherit name check; };
  types = {
    bool = type "bool" builtins.isBool;
    str = type "str" builtins.isString;
    port = type "port" (value: builtins.isInt value && value > 0 && value < 65536);
    package = type "package" builtins.isAttrs;
    nullOr = inner: type "nullOr ${inner.name}" (value: value == null || inner.check value);
    attrsOf =
      inner:
      type "attrsOf ${inner.name}" (
        value: builtins.isAttrs value && builtins.all inner.check (builtins.attrValues value)
      );
  };

  mkOption = option: option // { isOption = true; };
  mkEnableOption =
    what:
    mkOption {
      type = types.bool;
      default = false;
      description = "Whether to enable ${what}.";
    };
  mkDefault = value: value;
  mkIf = condition: content: if condition then content else { };

  optional = condition: value: if condition then [ value ] else [ ];
  optionalAttrs = condition: value: if condition then value else { };
  optionalString = condition: value: if condition then value else "";

  genAttrs =
    names: f:
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = f name;
      }) names
    );
  importTOML = path: builtins.fromTOML (builtins.readFile path);
  licenses.asl20 = "Apache-2.0";
  fileset = {
    unions = paths: paths;
    # Refuses what is not there, and keeps the rest out of the store.
    toSource =
      { root, fileset }:
      map (
        path:
        assert builtins.pathExists path;
        toString path
      ) fileset;
  };

  # The values of options: what is defined, else the default. Refuses what no option is for.
  valuesOf =
    where: options: defined:
    let
      unknown = builtins.filter (name: !(options ? ${name})) (builtins.attrNames defined);
      value =
        name:
        let
          option = options.${name};
          here = "${where}.${name}";
          given = defined.${name} or option.default or (throw "${here} is used and not defined");
        in
        if !(option.isOption or false) then
          valuesOf here option (defined.${name} or { })
        else if option.type.check given then
          given
        else
          throw "${here} is no ${option.type.name}";
    in
    if unknown != [ ] then
      throw "${where} has no option ${builtins.head unknown}"
    else
      builtins.mapAttrs (name: _: value name) options;
}
