//! Any bytes at all: the compiler reads JSON as others do, and survives what is none.

use exec_plan::{ExecPlan, GraphErrorCode, GraphErrors, GraphSource};
use proptest::prelude::*;
use serde_json::Value;

use crate::{broken, compile, kernels};

/// Whether the compiler found the text to be JSON.
fn is_json(result: &Result<ExecPlan, GraphErrors>) -> bool {
    use GraphErrorCode as Code;
    let Err(errors) = result else { return true };
    !errors.errors().iter().any(|error| {
        matches!(
            error.code,
            Code::Syntax
                | Code::Unclosed
                | Code::TrailingText
                | Code::InvalidString
                | Code::InvalidNumber
                | Code::InvalidUtf8
                | Code::TooDeep
        )
    })
}

/// Every place of a report lies in the document.
fn check_places(text: &[u8], errors: &GraphErrors) {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.split('\n').collect();
    for error in errors.errors() {
        let line = lines.get(error.line - 1).unwrap_or_else(|| panic!("no line {}", error.line));
        // A byte that is not UTF-8 counts as one character, here and there.
        assert!(error.column <= line.len() + 1, "{error:?}");
        assert!(!error.message.is_empty());
    }
    assert!(errors.errors().is_sorted_by_key(|error| (error.line, error.column)));
    assert!(errors.to_string().contains("graph.json"));
}

#[test]
fn bytes_that_are_no_utf8_are_shown_where_they_are() {
    let table: [(&[u8], &str); 4] = [
        (b"{ \"description\": \"\xff\", \"nodes\": [] }", "graph.json:1:19"),
        (b"{\n  \"caf\xe9\": 1 }", "graph.json:2:7"),
        (b"\xef\xbb\xbf{ \"nodes\": [] }", "graph.json:1:1"),
        (b"\xc3", "graph.json:1:1"),
    ];
    for (document, place) in table {
        let report = compile(document).unwrap_err().to_string();
        assert!(report.contains(place), "{report}");
    }
    let report = compile(b"{ \"description\": \"\xff\", \"nodes\": [] }").unwrap_err().to_string();
    assert!(report.contains("error[invalid-utf8]: the bytes ff are not UTF-8"), "{report}");
}

#[test]
fn a_byte_order_mark_is_named() {
    let errors =
        compile("\u{feff}{ \"nodes\": [], \"outputs\": [{ \"from\": 1, \"as\": \"one\" }] }").unwrap_err();
    assert_eq!(errors.errors().len(), 1, "{errors}");
    assert!(errors.errors()[0].message.contains("byte order mark"), "{errors}");
}

#[test]
fn a_graph_without_a_name_is_refused() {
    let text = "{ \"nodes\": [], \"outputs\": [{ \"from\": 1, \"as\": \"one\" }] }";
    let compile = |stem: Option<&str>| {
        let stem = stem.map(str::to_owned);
        let source = GraphSource { origin: "request body".into(), stem, text: text.into() };
        ExecPlan::compile(&source, &kernels::registry(), &kernels::schema())
    };
    assert_eq!(compile(Some("from_file")).unwrap().name().as_str(), "from_file");
    let errors = compile(None).unwrap_err();
    assert_eq!(errors.errors()[0].code, GraphErrorCode::MissingName);
    assert_eq!(errors.origin(), "request body");
    assert_eq!(compile(Some("no name")).unwrap_err().errors()[0].code, GraphErrorCode::InvalidName);
}

#[test]
fn colour_is_asked_for() {
    let errors = compile("[]").unwrap_err();
    assert!(!errors.to_string().contains('\u{1b}'));
    assert!(errors.render(true).contains('\u{1b}'));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(errors) = compile(bytes.clone()) {
            check_places(&bytes, &errors);
        }
    }

    #[test]
    fn tokens_in_any_order_are_json_only_if_others_say_so(
        tokens in prop::collection::vec(prop::sample::select(TOKENS.to_vec()), 0..24),
    ) {
        let text = tokens.concat();
        let result = compile(text.clone());
        prop_assert_eq!(is_json(&result), serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
        if let Err(errors) = result {
            check_places(text.as_bytes(), &errors);
        }
    }

    #[test]
    fn a_document_damaged_anywhere_is_refused_like_others_do(
        index in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        length in 0..6_usize,
        put in prop::collection::vec(prop::sample::select(BYTES.to_vec()), 0..4),
    ) {
        let documents = broken::documents();
        let mut bytes = documents[index.index(documents.len())].1.clone().into_bytes();
        let start = at.index(bytes.len() + 1);
        let end = (start + length).min(bytes.len());
        bytes.splice(start..end, put);
        let result = compile(bytes.clone());
        prop_assert_eq!(is_json(&result), serde_json::from_slice::<Value>(&bytes).is_ok());
        if let Err(errors) = result {
            check_places(&bytes, &errors);
        }
    }
}

const TOKENS: [&str; 36] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"a\"",
    "\"b\"",
    "\"nodes\"",
    "1",
    "0",
    "-0",
    "1.5e3",
    "1e400",
    "-",
    "01",
    "true",
    "false",
    "null",
    "nul",
    " ",
    "\n",
    "\t",
    "\"\\u00e9\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"\\x\"",
    "\"",
    "\\",
    "'a'",
    "//",
    "/*",
    "\u{1}",
    "é",
    "\"é\"",
    "\u{feff}",
];

const BYTES: [u8; 20] = *b"{}[]\":,\\ \n\t'a01-/e.\xff";
