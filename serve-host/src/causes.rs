//! An error with all that caused it, in one line, for logs.

/// The error's text and those of its causes. Some errors repeat what caused them: nothing is said twice.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = Vec::new();
    for cause in causes.map(ToString::to_string) {
        if texts.last().is_none_or(|last| !last.contains(&cause)) {
            texts.push(cause);
        }
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use exec_plan::{Code, Fault};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Link>>);

    #[test]
    fn every_cause_is_said_once() {
        let reset = Link("connection reset by peer", None);
        let broke = Link("it broke", Some(Box::new(Link("broke", Some(Box::new(reset))))));
        let fault = Fault::new(Code::Unavailable, "it broke").with_source(broke);
        assert_eq!(with_causes(&fault), "UNAVAILABLE: it broke: connection reset by peer");
    }
}
