# flakelag with nixpkgs' own Python packages. Never built by its authors, who have no Nix that
# builds: tests/integration/test_nixos.py parses and evaluates it.
{ lib, python3 }:
let
  project = (lib.importTOML ../../pyproject.toml).project;
  root = ../..;

  flakelag = python3.pkgs.buildPythonPackage {
    pname = project.name;
    inherit (project) version;
    pyproject = true;

    # What the wheel is made of, and nothing that changes without it.
    src = lib.fileset.toSource {
      inherit root;
      fileset = lib.fileset.unions (
        map (name: root + "/${name}") [
          "assets"
          "pipelines"
          "pyproject.toml"
          "README.md"
          "LICENSE"
        ]
      );
    };

    build-system = [ python3.pkgs.setuptools ];

    # The embedded server of the extra `demo` is not in nixpkgs: databases of one's own are needed.
    dependencies =
      with python3.pkgs;
      [
        adbc-driver-manager
        adbc-driver-postgresql
        click
        dagster
        dagster-postgres
        dagster-webserver
        duckdb
        filelock
        jinja2
        numpy
        pandas
        prometheus-client
        psycopg
        pyarrow
        pydantic
        python-dotenv
        pyyaml
        requests
        sqlalchemy
        starlette
        typing-extensions
        urllib3
        uvicorn
        vl-convert-python
      ]
      ++ psycopg.optional-dependencies.c
      ++ uvicorn.optional-dependencies.standard;

    # nixpkgs has one version of each, which may be another than that of the lock.
    pythonRelaxDeps = true;

    pythonImportsCheck = [ "pipelines.definitions" ];

    meta = {
      inherit (project) description;
      license = lib.licenses.asl20;
      mainProgram = "flakelag";
    };
  };
in
# An environment, because Dagster starts its processes with the Python that runs it.
python3.withPackages (_: [ flakelag ])
