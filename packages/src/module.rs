//! What a guest asks for and what it offers, by name: as much as tells what kind of guest it is.
//!
//! Reads two sections of a module and skips the rest; whether the module is valid is for the engine to say.

/// The names of a module. At most [`MAX_LISTED`] of each are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleNames {
    /// What it imports: the module and the name.
    pub imports: Vec<(String, String)>,
    /// What it exports.
    pub exports: Vec<String>,
}

/// How many names are listed of either kind.
const MAX_LISTED: usize = 1000;
/// Where the sections begin.
const HEADER_BYTES: usize = 8;
const IMPORTS: u8 = 2;
const EXPORTS: u8 = 7;

// === impl ModuleNames ===

impl ModuleNames {
    /// The names, or nothing if the sections cannot be read.
    pub fn read(module: &[u8]) -> Option<Self> {
        let mut names = Self::default();
        let mut rest = module.get(HEADER_BYTES..)?;
        while let Some((id, after)) = rest.split_first() {
            let (section, after) = sized(after)?;
            match *id {
                IMPORTS => names.imports = list(section, import)?,
                EXPORTS => names.exports = list(section, export)?,
                _ => {}
            }
            rest = after;
        }
        Some(names)
    }
}

/// The first entries of a list.
fn list<'m, T>(section: &'m [u8], entry: impl Fn(&'m [u8]) -> Option<(T, &'m [u8])>) -> Option<Vec<T>> {
    let (count, mut rest) = number(section)?;
    let mut listed = Vec::new();
    for _ in 0..count.min(MAX_LISTED) {
        let (item, after) = entry(rest)?;
        listed.push(item);
        rest = after;
    }
    Some(listed)
}

fn import(bytes: &[u8]) -> Option<((String, String), &[u8])> {
    let (module, rest) = name(bytes)?;
    let (name, rest) = name(rest)?;
    let (kind, rest) = rest.split_first()?;
    let rest = match kind {
        0 => number(rest)?.1,
        1 => limits(rest.get(1..)?)?,
        2 => limits(rest)?,
        3 => rest.get(2..)?,
        4 => number(rest.get(1..)?)?.1,
        _ => return None,
    };
    Some(((module, name), rest))
}

fn export(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (name, rest) = name(bytes)?;
    let (_, rest) = number(rest.get(1..)?)?;
    Some((name, rest))
}

/// Skips the bounds of a table or a memory.
fn limits(bytes: &[u8]) -> Option<&[u8]> {
    let (flags, rest) = bytes.split_first()?;
    let (_, rest) = number(rest)?;
    if flags & 1 == 0 { Some(rest) } else { Some(number(rest)?.1) }
}

fn name(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (name, rest) = sized(bytes)?;
    Some((crate::legible::legible(name), rest))
}

/// What is preceded by its size.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = number(bytes)?;
    rest.split_at_checked(size)
}

/// A number in LEB128.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_and_exports_are_listed() {
        let module = wat::parse_str(
            r#"(module
                (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
                (import "env" "table" (table 1 2 funcref))
                (import "env" "memory" (memory 1))
                (import "env" "global" (global (mut i32)))
                (import "okra" "next" (func))
                (func (export "handle_request"))
                (global (export "g") i32 (i32.const 1)))"#,
        );
        let names = ModuleNames::read(&module.unwrap()).unwrap();
        let imports: Vec<_> = names.imports.iter().map(|(module, name)| format!("{module}.{name}")).collect();
        let expected =
            ["wasi_snapshot_preview1.fd_write", "env.table", "env.memory", "env.global", "okra.next"];
        assert_eq!(imports, expected);
        assert_eq!(names.exports, ["handle_request", "g"]);
        assert_eq!(ModuleNames::read(b"\0asm\x01\0\0\0"), Some(ModuleNames::default()));
    }

    #[test]
    fn a_module_broken_off_anywhere_has_no_names_or_fewer() {
        let module =
            wat::parse_str(r#"(module (import "a" "b" (func)) (memory (export "memory") 1))"#).unwrap();
        for length in 0..module.len() {
            if let Some(names) = ModuleNames::read(&module[..length]) {
                assert!(names.imports.len() + names.exports.len() <= 2);
            }
        }
        let endless = [b"\0asm\x01\0\0\0\x07\x06", &[0xff, 0xff, 0xff, 0xff, 0x0f, 0][..]].concat();
        assert_eq!(ModuleNames::read(&endless), None);
    }
}
