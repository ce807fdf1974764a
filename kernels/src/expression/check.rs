//! From text to a checked tree: every name known, every function declared, not too deep, loops metered.
//!
//! Two rewrites happen on the way. Loops are metered, see [`super::meter`]. And `has(input.path)`
//! becomes the variable `@has input.path`, so that testing for one key does not convert the whole
//! document around it.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, ListExpr, LiteralValue, SelectExpr, operators,
};
use cel::parser::ParseError;
use cel::{Context, IdedExpr};
use exec_plan::{BindError, Site};

use super::{ENV, MAX_DEPTH, MAX_ERROR, Names, meter};

/// The prefix, after `@`, of variables that stand for `has(...)`.
pub(super) const HAS: &str = "has ";

/// A tree ready to be evaluated.
pub(super) struct Prepared {
    pub(super) tree: IdedExpr,
    pub(super) loops: bool,
}

/// Something wrong with an expression.
pub(super) struct Problem {
    message: String,
    help: Option<String>,
}

/// Walks one tree.
struct Walk<'n> {
    names: &'n mut Names,
    /// The variables of the loops around the current node.
    bound: Vec<String>,
    problems: Vec<Problem>,
    loops: bool,
    too_deep: bool,
}

/// What a part of the tree costs each time it is evaluated: its number of nodes.
type Weight = u64;

/// Parses and checks.
pub(super) fn prepare(text: &str, names: &mut Names) -> Result<Prepared, Vec<Problem>> {
    let mut tree = ENV.parser().parse(text).map_err(|errors| syntax(text, &errors.errors))?;
    let mut walk = Walk { names, bound: Vec::new(), problems: Vec::new(), loops: false, too_deep: false };
    walk.node(&mut tree, 0);
    if walk.too_deep {
        let message = format!("the expression is more than {MAX_DEPTH} operators deep");
        let help = Some("split it into several nodes".to_owned());
        walk.problems.push(Problem { message, help });
    }
    if walk.problems.is_empty() { Ok(Prepared { tree, loops: walk.loops }) } else { Err(walk.problems) }
}

// === impl Problem ===

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    /// The parser panicked.
    pub(super) fn parser_failed() -> Self {
        Self::new("the CEL parser fails on this expression")
    }

    pub(super) fn at(self, site: Site) -> BindError {
        let error = BindError::new(site, self.message);
        match self.help {
            Some(help) => error.with_help(help),
            None => error,
        }
    }
}

/// The first syntax error; what else the parser reports is mostly its echo. The parser tells its errors
/// apart only by their text.
fn syntax(text: &str, errors: &[ParseError]) -> Vec<Problem> {
    if errors.iter().any(|error| error.msg.contains("Recursion limit")) {
        return vec![Problem::new("the expression is nested too deeply")];
    }
    let genuine =
        errors.iter().find_map(|error| Some((error.pos, error.msg.strip_prefix("Syntax error: ")?)));
    let first = genuine.or_else(|| errors.first().map(|error| (error.pos, error.msg.as_str())));
    let Some(((line, column), message)) = first else { return vec![Problem::parser_failed()] };
    let message = &message[..message.floor_char_boundary(MAX_ERROR)];
    vec![Problem::new(if text.contains('\n') {
        format!("line {line} column {column}: {message}")
    } else {
        format!("column {column}: {message}")
    })]
}

// === impl Walk ===

impl Walk<'_> {
    fn node(&mut self, node: &mut IdedExpr, depth: usize) -> Weight {
        if depth >= MAX_DEPTH {
            self.too_deep = true;
            return 1;
        }
        let depth = depth + 1;
        1 + match &mut node.expr {
            Expr::Unspecified | Expr::Literal(_) => 0,
            Expr::Ident(name) => {
                self.name(name);
                0
            }
            Expr::Call(call) => self.call(call, depth),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, depth),
            Expr::List(list) => list.elements.iter_mut().map(|element| self.node(element, depth)).sum(),
            Expr::Map(map) => map.entries.iter_mut().map(|entry| self.entry(&mut entry.expr, depth)).sum(),
            Expr::Struct(message) => {
                let name = &message.type_name;
                self.problems.push(Problem::new(format!("there is no message type {name:?} here")));
                message.entries.iter_mut().map(|entry| self.entry(&mut entry.expr, depth)).sum()
            }
            Expr::Select(select) => match self.presence(select) {
                Some(presence) => {
                    node.expr = Expr::Ident(presence);
                    0
                }
                None if is_type(select) => 0,
                None => self.node(&mut select.operand, depth),
            },
        }
    }

    fn entry(&mut self, entry: &mut EntryExpr, depth: usize) -> Weight {
        match entry {
            EntryExpr::StructField(field) => self.node(&mut field.value, depth),
            EntryExpr::MapEntry(entry) => {
                self.node(&mut entry.key, depth) + self.node(&mut entry.value, depth)
            }
        }
    }

    fn call(&mut self, call: &mut CallExpr, depth: usize) -> Weight {
        let mut weight = call.args.iter_mut().map(|arg| self.node(arg, depth)).sum();
        // `optional.of(x)` is a call of the function `optional.of`, not of a method of `optional`.
        let qualified = call.target.as_deref().and_then(path).map(|mut path| {
            path.push(call.func_name.clone());
            path.join(".")
        });
        if qualified.is_some_and(|name| is_declared(&name)) {
            return weight;
        }
        if let Some(target) = &mut call.target {
            weight += self.node(target, depth);
        }
        // The parser spells operators with characters that no identifier has.
        let is_operator =
            !call.func_name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
        if !is_operator && !is_declared(&call.func_name) {
            self.problems.push(Problem::new(format!("there is no function {:?}", call.func_name)));
        }
        weight
    }

    fn comprehension(&mut self, comprehension: &mut ComprehensionExpr, depth: usize) -> Weight {
        self.loops = true;
        let outer =
            self.node(&mut comprehension.iter_range, depth) + self.node(&mut comprehension.accu_init, depth);
        let inner = self.bound.len();
        self.bound.push(comprehension.iter_var.clone());
        self.bound.extend(comprehension.iter_var2.clone());
        let step =
            self.node(&mut comprehension.loop_cond, depth) + self.node(&mut comprehension.loop_step, depth);
        let result = self.node(&mut comprehension.result, depth);
        self.bound.truncate(inner);

        keep_metered(&mut comprehension.loop_step, &comprehension.accu_var);
        let range = std::mem::take(&mut comprehension.iter_range);
        let weight = LiteralValue::Int(i64::try_from(step).unwrap_or(i64::MAX).into());
        comprehension.iter_range = call(meter::EACH, vec![range, ided(Expr::Literal(weight)), the_meter()]);
        outer + result
    }

    /// Checks that a variable is known.
    fn name(&mut self, name: &str) {
        if name.starts_with('@') || self.bound.iter().any(|bound| bound == name) || is_type_name(name) {
            return;
        }
        if name.starts_with('.') {
            let help = format!("write {:?}", name.trim_start_matches('.'));
            let message = format!("{name:?}: names with a leading dot are not supported");
            self.problems.push(Problem { message, help: Some(help) });
        } else if !self.names.admit(name) {
            let known: Vec<_> = self.names.iter().collect();
            let help = match known.as_slice() {
                [] => format!("list {name:?} among the node's inputs"),
                known => format!("the node's inputs are {}", known.join(", ")),
            };
            self.problems.push(Problem { message: format!("{name:?} is no input"), help: Some(help) });
        }
    }

    /// The variable that stands for `has(input.path)`, if that is what `select` is.
    fn presence(&mut self, select: &SelectExpr) -> Option<String> {
        let path = path(&select.operand).filter(|_| select.test)?;
        let root = path.first().filter(|root| !self.bound.contains(root))?;
        if root.starts_with(['.', '@']) || !self.names.admit(root) {
            return None;
        }
        Some(format!("@{HAS}{}.{}", path.join("."), select.field))
    }
}

/// Puts `@keep` around the element that each step of `map` or `filter` appends. Their step has the form
/// `@result + [element]`, or `condition ? @result + [element] : @result`.
fn keep_metered(step: &mut IdedExpr, accumulator: &str) {
    let Expr::Call(step) = &mut step.expr else { return };
    match (step.func_name.as_str(), step.args.as_mut_slice()) {
        (operators::CONDITIONAL, [_, then, _]) => keep_metered(then, accumulator),
        (
            operators::ADD,
            [IdedExpr { expr: Expr::Ident(name), .. }, IdedExpr { expr: Expr::List(appended), .. }],
        ) if name == accumulator => {
            let ListExpr { elements, .. } = appended;
            for element in elements {
                let kept = std::mem::take(element);
                *element = call(meter::KEEP, vec![kept, the_meter()]);
            }
        }
        _ => {}
    }
}

fn call(function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    ided(Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args }))
}

fn the_meter() -> IdedExpr {
    ided(Expr::Ident(meter::VARIABLE.to_owned()))
}

/// A node of our own; ids only serve the parser's error positions.
fn ided(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

/// The segments of `a.b.c`; `None` for any other expression.
fn path(node: &IdedExpr) -> Option<Vec<String>> {
    match &node.expr {
        Expr::Ident(name) => Some(vec![name.clone()]),
        Expr::Select(select) if !select.test => {
            let mut path = path(&select.operand)?;
            path.push(select.field.clone());
            Some(path)
        }
        _ => None,
    }
}

fn is_type(select: &SelectExpr) -> bool {
    path(&select.operand).is_some_and(|path| is_type_name(&format!("{}.{}", path.join("."), select.field)))
}

fn is_type_name(name: &str) -> bool {
    ENV.types().find_type(name).is_some()
}

/// Whether the environment declares a function or method of this name: a context refuses to shadow one.
fn is_declared(name: &str) -> bool {
    Context::with_env(ENV.clone()).add_function(name, || 0_i64).is_err()
}
