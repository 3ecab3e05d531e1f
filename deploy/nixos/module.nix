# services.flakelag: the daemon and, where wanted, the UI, as deploy/systemd has them.
#
# Never run on NixOS by its authors: tests/integration/test_nixos.py evaluates it with a stand-in for
# nixpkgs' lib, and holds what comes out to deploy/systemd.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.flakelag;
  inherit (lib)
    mkEnableOption
    mkIf
    mkOption
    optional
    optionalAttrs
    optionalString
    types
    ;

  stateDir = "/var/lib/flakelag";
  isSet = value: value != null;

  # An address is in the store, where everybody reads it.
  hasNoPassword =
    url: !isSet url || (builtins.match "[^:]+://[^/@]*:[^/@]*@.*|.*[?&]password=.*" url) == null;

  addressOption =
    what:
    mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "postgresql://flakelag@db.example/flakelag?sslmode=verify-full&sslrootcert=system";
      description = "${what}, as a libpq URL without a password: that belongs in `pgpassFile`.";
    };

  runtimeFile =
    what:
    mkOption {
      # No path of Nix's, which would be copied to the store.
      type = types.nullOr types.str;
      default = null;
      example = "/run/secrets/flakelag";
      description = "${what} Read by systemd as root when a service starts.";
    };

  # systemd has a meaning of its own for %, which addresses have as escapes.
  literally = builtins.mapAttrs (_: builtins.replaceStrings [ "%" ] [ "%%" ]);

  # Each is the variable of docs/operations.md that it is named for.
  settings = {
    REPORTS_DIR = cfg.reportsDir;
    FLAKELAG_VAR_DIR = "${stateDir}/var";
  }
  // optionalAttrs (isSet cfg.fleetDatabase) { FLEET_DATABASE_URL = cfg.fleetDatabase; }
  // optionalAttrs (isSet cfg.historyDatabase) { HISTORY_DATABASE_URL = cfg.historyDatabase; }
  // optionalAttrs (isSet cfg.dagsterDatabase) { DAGSTER_POSTGRES_URL = cfg.dagsterDatabase; }
  // cfg.settings;

  # libpq refuses a file that a group may read, and where a credential has an access list its mode
  # looks so: hence the copy.
  secrets =
    optionalString (isSet cfg.pgpassFile) ''
      install -m 0600 "$CREDENTIALS_DIRECTORY/pgpass" "$RUNTIME_DIRECTORY/pgpass"
      export PGPASSFILE="$RUNTIME_DIRECTORY/pgpass"
    ''
    + optionalString (isSet cfg.webhook) ''
      ALERT_WEBHOOK_URL="$(cat "$CREDENTIALS_DIRECTORY/webhook")"
      export ALERT_WEBHOOK_URL
    '';

  service = name: command: {
    description = "flakelag: ${name}";
    wantedBy = [ "multi-user.target" ];
    wants = [ "network-online.target" ];
    after = [
      "network-online.target"
      "postgresql.service"
    ];
    environment = literally settings // {
      HOME = stateDir;
    };
    script = ''
      ${secrets}
      exec ${cfg.package}/bin/flakelag ${command}
    '';
    serviceConfig = {
      Type = "exec";
      User = "flakelag";
      Group = "flakelag";
      Restart = "always";
      RestartSec = 10;
      TimeoutStopSec = 60;
      StateDirectory = "flakelag";
      StateDirectoryMode = "0755";
      WorkingDirectory = stateDir;
      RuntimeDirectory = "%N";
      RuntimeDirectoryMode = "0700";
      ReadWritePaths = [ cfg.reportsDir ];
      LoadCredential =
        optional (isSet cfg.pgpassFile) "pgpass:${cfg.pgpassFile}"
        ++ optional (isSet cfg.webhook) "webhook:${cfg.webhook}";
      ProtectSystem = "strict";
      ProtectHome = true;
      PrivateTmp = true;
      PrivateDevices = true;
      PrivateMounts = true;
      PrivateUsers = true;
      UMask = "0077";
      NoNewPrivileges = true;
      CapabilityBoundingSet = "";
      AmbientCapabilities = "";
      RestrictSUIDSGID = true;
      LockPersonality = true;
      ProtectProc = "invisible";
      ProcSubset = "pid";
      ProtectClock = true;
      ProtectControlGroups = true;
      ProtectHostname = true;
      ProtectKernelLogs = true;
      ProtectKernelModules = true;
      ProtectKernelTunables = true;
      KeyringMode = "private";
      RemoveIPC = true;
      RestrictNamespaces = true;
      RestrictRealtime = true;
      RestrictAddressFamilies = [
        "AF_UNIX"
        "AF_INET"
        "AF_INET6"
      ];
      SystemCallArchitectures = "native";
      SystemCallErrorNumber = "EPERM";
      SystemCallFilter = [
        "@system-service"
        "~@privileged @resources"
      ];
    }
    // optionalAttrs (isSet cfg.environmentFile) { EnvironmentFile = cfg.environmentFile; };
  };
in
{
  options.services.flakelag = {
    enable = mkEnableOption "flakelag, which records how far each NixOS system is behind its flake";

    package = mkOption {
      type = types.package;
      description = "The package to run.";
    };

    fleetDatabase = addressOption "The fleet database to read";
    historyDatabase = addressOption "Where history is kept";
    dagsterDatabase = addressOption "Dagster's own storage (SQLite in ${stateDir} if null)";

    reportsDir = mkOption {
      type = types.str;
      default = "${stateDir}/reports";
      description = "Where the Parquet files and pages go.";
    };

    settings = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        ALERT_COMMITS_BEHIND = "50";
        PUBLISHED_FILES_MODE = "0640";
      };
      description = "Further variables of docs/operations.md. They are in the store: no secrets.";
    };

    pgpassFile = runtimeFile "A file of passwords in libpq's format (pgpass).";
    webhook = runtimeFile "A file that holds the address to which alerts are posted.";
    environmentFile = runtimeFile "A file of further variables, NAME=value a line.";

    ui = {
      enable = mkEnableOption "Dagster's UI on 127.0.0.1. It has no log-in";
      port = mkOption {
        type = types.port;
        default = 3000;
        description = "The port of the UI.";
      };
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = builtins.all hasNoPassword [
          cfg.fleetDatabase
          cfg.historyDatabase
          cfg.dagsterDatabase
        ];
        message = "services.flakelag: an address has a password, which everybody could read in the store. Put it into pgpassFile.";
      }
      {
        # nixpkgs has no embedded server.
        assertion =
          isSet cfg.environmentFile || (isSet cfg.fleetDatabase && isSet cfg.historyDatabase);
        message = "services.flakelag: set fleetDatabase and historyDatabase, here or in environmentFile.";
      }
    ];

    users.users.flakelag = {
      isSystemUser = true;
      group = "flakelag";
      home = stateDir;
    };
    users.groups.flakelag = { };

    # Analysts read what is published; the files have a mode of their own.
    systemd.tmpfiles.rules = [ "d ${cfg.reportsDir} 0755 flakelag flakelag -" ];

    systemd.services = {
      flakelag-daemon = service "schedules and runs" "daemon";
    }
    // optionalAttrs cfg.ui.enable {
      flakelag-ui = service "UI" "webserver --port ${toString cfg.ui.port}";
    };
  };
}
