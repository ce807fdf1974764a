//! Broken documents beside the reports they get, in tables under `tests/broken/`.
//!
//! A case is a line `=== name`, the document, a line `---` and the report. To accept the reports as
//! they are now, run `UPDATE_REPORTS=1 cargo test -p exec-plan --test compile` and read the diff.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use exec_plan::GraphErrorCode;

use crate::compile;

/// One broken document.
struct Case {
    name: String,
    document: String,
    report: String,
}

#[test]
fn every_report_is_as_written() {
    let mut wrong = String::new();
    for path in tables() {
        let table = std::fs::read_to_string(&path).unwrap();
        let cases = cases(&table);
        assert!(!cases.is_empty(), "{} has no cases", path.display());
        let mut updated = String::new();
        for case in &cases {
            let report = match compile(case.document.clone()) {
                Ok(_) => "compiles\n".to_owned(),
                Err(errors) => errors.to_string(),
            };
            if report != case.report {
                let _ = writeln!(wrong, "=== {}\n{report}--- but the table says\n{}", case.name, case.report);
            }
            let _ = write!(updated, "=== {}\n{}---\n{report}", case.name, case.document);
        }
        if std::env::var_os("UPDATE_REPORTS").is_some() {
            std::fs::write(&path, updated).unwrap();
        }
    }
    assert!(wrong.is_empty() || std::env::var_os("UPDATE_REPORTS").is_some(), "{wrong}");
}

#[test]
fn every_kind_of_mistake_has_a_case() {
    // These need documents that are too long for a table, or are not text; other tests have them.
    let elsewhere = [
        GraphErrorCode::TooLarge,
        GraphErrorCode::InvalidUtf8,
        GraphErrorCode::MissingName,
        GraphErrorCode::ProofTooLarge,
    ];
    let tables: String = tables().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let missing: Vec<&str> = GraphErrorCode::ALL
        .iter()
        .filter(|code| !elsewhere.contains(code) && !tables.contains(&format!("error[{}]", code.name())))
        .map(|code| code.name())
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn the_tables_have_many_cases_with_names_of_their_own() {
    let names: Vec<String> = documents().into_iter().map(|(name, _)| name).collect();
    assert!(names.len() >= 80, "{} cases", names.len());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

#[test]
fn the_json_form_says_the_same() {
    for table in tables() {
        for case in cases(&std::fs::read_to_string(table).unwrap()) {
            let Err(errors) = compile(case.document.clone()) else { continue };
            let json = serde_json::to_value(&errors).unwrap();
            let document: Option<serde_json::Value> = serde_json::from_str(&case.document).ok();
            let problems = json.as_array().unwrap();
            assert_eq!(problems.len(), errors.errors().len());
            for problem in problems {
                let place = format!("graph.json:{}:{}", problem["line"], problem["column"]);
                assert!(case.report.contains(&place), "{}: {place}", case.name);
                assert!(case.report.contains(problem["message"].as_str().unwrap()), "{}", case.name);
                let pointer = problem["pointer"].as_str().unwrap();
                if let Some(document) = &document
                    && problem["code"] != "duplicate-key"
                {
                    assert!(document.pointer(pointer).is_some(), "{}: {pointer}", case.name);
                }
            }
        }
    }
}

/// The names and the documents of all cases.
pub(crate) fn documents() -> Vec<(String, String)> {
    let tables: Vec<String> = tables().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    tables.iter().flat_map(|table| cases(table)).map(|case| (case.name, case.document)).collect()
}

fn tables() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn cases(table: &str) -> Vec<Case> {
    let texts = table.split("=== ").skip(1);
    let case = |text: &str| {
        let (name, rest) = text.split_once('\n').unwrap();
        let (document, report) = rest.split_once("---\n").unwrap_or((rest, ""));
        Case { name: name.to_owned(), document: document.to_owned(), report: report.to_owned() }
    };
    texts.map(case).collect()
}
