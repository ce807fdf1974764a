//! Every documented graph compiles to the plan that stands beside it, in a file of the same name ending
//! in `.plan`. `UPDATE_PLANS=1 cargo test -p kernels --test plans` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::path::{Path, PathBuf};

use exec_plan::{ExecPlan, GraphSource};
use kernels::{builtin, serve_env};

fn documents() -> Vec<PathBuf> {
    let graphs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../graphs");
    let mut documents: Vec<PathBuf> = [graphs.clone(), graphs.join("kernels")]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    documents.sort();
    documents
}

fn explain(document: &Path) -> String {
    let stem = document.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let text = std::fs::read(document).unwrap();
    let source = GraphSource { origin: document.display().to_string().into(), stem, text: text.into() };
    let plan =
        ExecPlan::compile(&source, &builtin(), &serve_env()).unwrap_or_else(|errors| panic!("{errors}"));
    plan.explain().to_string()
}

#[test]
fn every_documented_graph_has_the_plan_beside_it() {
    let documents = documents();
    assert!(documents.len() > 20, "only {} documents", documents.len());
    for document in documents {
        let (plan, golden) = (explain(&document), document.with_extension("plan"));
        if std::env::var_os("UPDATE_PLANS").is_some() {
            std::fs::write(&golden, &plan).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(plan, expected, "{}: bless it with UPDATE_PLANS=1", golden.display());
    }
}

#[test]
fn a_plan_draws_itself() {
    for document in documents() {
        let source = GraphSource {
            origin: "graph".into(),
            stem: document.file_stem().map(|stem| stem.to_string_lossy().into_owned()),
            text: std::fs::read(&document).unwrap().into(),
        };
        let plan =
            ExecPlan::compile(&source, &builtin(), &serve_env()).unwrap_or_else(|errors| panic!("{errors}"));
        let explain = plan.explain();
        let (svg, chart) = (explain.to_svg(), explain.to_mermaid());
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{}", document.display());
        assert_eq!(svg.matches("<rect").count(), explain.nodes.len(), "{}", document.display());
        for node in &explain.nodes {
            assert!(chart.contains(&format!("\"{}<br/>{}\"", node.id, node.kernel)), "{chart}");
        }
    }
}
