//! `okra package`: what it makes can be checked and inspected, and what it refuses it explains.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use prost::Message as _;
use serde_json::Value;
use tempfile::TempDir;
use tests::server::{Finished, okra};

const SCHEMA: &str = "@okra(namespace: \"test.math\", version: \"v1\")
service MathService {
  add(input: AddInput): AddResponse
  @readonly
  total: Long
}
type AddInput { a: Int! b: Int! }
type AddResponse { sum: Int! }
";

/// A project as it is after its guest was built.
fn project() -> anyhow::Result<TempDir> {
    let project = tempfile::tempdir()?;
    fs::create_dir(project.path().join("build"))?;
    fs::write(project.path().join("build/service.wasm"), b"\0asm\x01\0\0\0")?;
    fs::write(project.path().join("service.okra.gql"), SCHEMA)?;
    fs::write(
        project.path().join("okra.json"),
        r#"{"name": "MathService", "version": "1.2.0", "language": "go"}"#,
    )?;
    Ok(project)
}

fn package(command: &str, path: &Path) -> anyhow::Result<Finished> {
    okra(&["--json", "package", command, &path.to_string_lossy()])
}

fn document(finished: &Finished) -> anyhow::Result<Value> {
    serde_json::from_str(&finished.stdout).with_context(|| format!("{finished:?}"))
}

#[test]
fn what_is_packed_can_be_checked_and_inspected() -> anyhow::Result<()> {
    let project = project()?;
    let packed = package("pack", project.path())?;
    assert_eq!(packed.status.code(), Some(0), "{packed:?}");
    let file = project.path().join("dist/MathService-1.2.0.okra.pkg");
    let first = fs::read(&file)?;
    assert!(package("pack", &project.path().join("okra.json"))?.status.success());
    assert_eq!(fs::read(&file)?, first, "the same project gives the same bytes");
    assert_eq!(fs::read_dir(project.path().join("dist"))?.count(), 1);

    let checked = document(&package("check", &file)?)?;
    assert_eq!(checked["valid"], true);
    assert_eq!(checked["packages"][0]["id"], "test.math.MathService.v1");
    let inspected = document(&package("inspect", &file)?)?;
    assert_eq!(inspected["route"], "test.math.MathService");
    assert_eq!(inspected["digest"], document(&packed)?["digest"]);
    assert_eq!(inspected["methods"][1]["output"], "test.math.TotalResponse");
    assert_eq!(inspected["methods"][1]["no_side_effects"], true);
    Ok(())
}

#[test]
fn an_interface_may_be_compiled_of_proto_files() -> anyhow::Result<()> {
    const PROTO: &str = "syntax = \"proto3\"; package shop; message Order { string item = 1; }
        service Orders { rpc place(Order) returns (Order); rpc follow(Order) returns (stream Order); }";
    let project = project()?;
    let folder = project.path();
    fs::write(folder.join("orders.proto"), PROTO)?;
    let set = protox::compile([folder.join("orders.proto")], [folder])?.encode_to_vec();
    fs::remove_file(folder.join("service.okra.gql"))?;
    let missing = package("pack", folder)?;
    assert_eq!(missing.status.code(), Some(4), "{missing:?}");
    assert!(missing.stderr.contains("neither service.okra.gql nor service.pb.desc"), "{missing:?}");
    assert!(missing.stderr.contains("protoc --include_imports"), "{missing:?}");

    fs::write(folder.join("service.pb.desc"), &set)?;
    let refused = package("pack", folder)?;
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let place = "service.pb.desc: failed to load protobuf descriptors: service MathService is not among";
    assert!(refused.stderr.contains(place) && refused.stderr.contains("descriptors: Orders"), "{refused:?}");
    assert!(refused.stderr.contains("`name` in okra.json"), "{refused:?}");

    let config = |more: &str| {
        let text = format!(r#"{{"name": "Orders", "version": "1.2.0", "service_version": "v3"{more}}}"#);
        fs::write(folder.join("okra.json"), text)
    };
    config("")?;
    let packed = package("pack", folder)?;
    assert_eq!(packed.status.code(), Some(0), "{packed:?}");
    assert!(packed.stderr.contains("service.pb.desc: follow streams, which packages cannot"), "{packed:?}");
    let said = document(&packed)?;
    assert_eq!(said["left_out"], serde_json::json!(["follow"]));
    let inspected = document(&package("inspect", &folder.join("dist/Orders-1.2.0.okra.pkg"))?)?;
    assert_eq!((&inspected["id"], &inspected["graph_version"]), (&"shop.Orders.v3".into(), &"3.0.0".into()));
    assert_eq!(inspected["methods"].as_array().map(Vec::len), Some(1));
    assert_eq!(inspected["methods"][0]["input"], "shop.Order");

    // The same under another name, which okra.json gives.
    fs::rename(folder.join("service.pb.desc"), folder.join("build/orders.binpb"))?;
    config(r#", "schema": "build/orders.binpb""#)?;
    assert_eq!(document(&package("pack", folder)?)?["digest"].as_str().map(str::len), Some(64));
    config(r#", "schema": "build/absent.binpb""#)?;
    assert_eq!(package("pack", folder)?.status.code(), Some(4));
    Ok(())
}

#[test]
fn a_mistake_in_a_schema_is_shown_at_its_place() -> anyhow::Result<()> {
    let project = project()?;
    let schema = project.path().join("service.okra.gql");
    fs::write(&schema, SCHEMA.replace("): AddResponse", "): AddRespons"))?;
    for (command, path) in [("pack", project.path()), ("check", &schema)] {
        let refused = package(command, path)?;
        assert_eq!(refused.status.code(), Some(3), "{refused:?}");
        assert!(refused.stderr.contains("service.okra.gql:3:25"), "{refused:?}");
        assert!(refused.stderr.contains("did you mean `AddResponse`?"), "{refused:?}");
    }
    let checked = document(&package("check", &schema)?)?;
    assert_eq!(checked["packages"][0]["errors"][0]["code"], "unknown_type");
    assert!(!project.path().join("dist").exists());
    Ok(())
}

#[test]
fn a_package_is_refused_by_the_name_of_its_fault() -> anyhow::Result<()> {
    let project = project()?;
    let file = project.path().join("broken.okra.pkg");
    fs::write(&file, [0x1f, 0x8b, 8, 0])?;
    let refused = package("check", &file)?;
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert_eq!(document(&refused)?["packages"][0]["errors"][0]["code"], "truncated");
    assert!(refused.stderr.contains("failed to extract package"), "{refused:?}");
    assert_eq!(package("inspect", &file)?.status.code(), Some(3));
    assert_eq!(package("check", &project.path().join("none"))?.status.code(), Some(4));
    Ok(())
}

#[test]
fn a_package_is_made_of_files_inside_its_project() -> anyhow::Result<()> {
    let project = project()?;
    let outside = tempfile::tempdir()?;
    fs::write(outside.path().join("secret"), "secret")?;
    std::os::unix::fs::symlink(outside.path().join("secret"), project.path().join("link.gql"))?;
    let absolute = outside.path().join("secret").to_string_lossy().into_owned();
    for schema in ["../secret", "build/../../secret", "link.gql", &absolute] {
        let config = format!(r#"{{"name": "MathService", "version": "1.2.0", "schema": "{schema}"}}"#);
        fs::write(project.path().join("okra.json"), config)?;
        let refused = package("pack", project.path())?;
        assert_eq!(refused.status.code(), Some(3), "{schema}: {refused:?}");
        assert!(refused.stderr.contains("leads out of the project"), "{schema}: {refused:?}");
    }
    fs::write(project.path().join("okra.json"), r#"{"name": "MathService", "version": "../x"}"#)?;
    assert_eq!(package("pack", project.path())?.status.code(), Some(3));
    fs::remove_file(project.path().join("build/service.wasm"))?;
    assert_eq!(package("pack", project.path())?.status.code(), Some(4));
    Ok(())
}
