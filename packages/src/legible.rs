//! Text of strangers, made fit to be shown.

/// A stranger's name or value: short, on one line, without control characters.
pub(crate) fn legible(raw: &[u8]) -> String {
    const SHOWN: usize = 100;
    let text = String::from_utf8_lossy(raw.get(..4 * SHOWN).unwrap_or(raw));
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().count() > SHOWN || raw.len() > 4 * SHOWN {
        shown.push('…');
    }
    shown
}
