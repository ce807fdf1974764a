//! A JSON document as an arena of cells in the order of the text.
//!
//! A container's cell comes right before those of what it contains and knows where they end, so a walk
//! needs no pointers and a sibling is one step away. Strings without escapes are slices of the text.

use std::borrow::Cow;

use super::{Span, Word};

/// One value or key of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Item(u32);

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Null,
    False,
    True,
    Number,
    /// A string without escapes.
    Plain,
    /// A string with escapes; [`Tree`] keeps it decoded.
    Escaped,
    Array,
    Object,
    /// A value that could not be read, which has been reported.
    Hole,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Of a container, the cell after its last descendant; of an escaped string, its index among the
    /// decoded ones.
    pub(super) link: u32,
    pub(super) kind: Kind,
    /// Whether something in this container, though not in one within it, could not be read.
    pub(super) damaged: bool,
}

/// A document that was read.
#[derive(Debug)]
pub(crate) struct Tree<'t> {
    pub(super) text: &'t str,
    pub(super) cells: Vec<Cell>,
    pub(super) decoded: Vec<String>,
    /// The tokens of the document: strings escaped in one way, no white space.
    pub(super) tokens: Vec<u8>,
    pub(super) whole: bool,
}

/// The direct children of an array; of an object, its keys and values in turn.
struct Children<'a, 't> {
    tree: &'a Tree<'t>,
    next: u32,
    end: u32,
}

// === impl Tree ===

impl<'t> Tree<'t> {
    /// Whether the text had no syntax error: nothing is missing from the tree.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The document without white space, its strings escaped in one way.
    pub(super) fn tokens(&self) -> &[u8] {
        &self.tokens
    }

    /// The outermost value, unless the text is empty.
    pub(crate) fn root(&self) -> Option<Item> {
        (!self.cells.is_empty()).then_some(Item(0))
    }

    pub(crate) fn kind(&self, item: Item) -> Kind {
        self.cell(item).kind
    }

    /// Whether something that belongs directly into this container could not be read.
    pub(crate) fn is_damaged(&self, item: Item) -> bool {
        self.cell(item).damaged
    }

    /// The whole value, quotes and brackets included.
    pub(crate) fn span(&self, item: Item) -> Span {
        let cell = self.cell(item);
        Span { start: cell.start, end: cell.end }
    }

    /// The opening bracket of a container, or the whole of anything else: a place short enough to show.
    pub(crate) fn head(&self, item: Item) -> Span {
        let span = self.span(item);
        if self.kind(item).is_container() { Span::at(span.start as usize) } else { span }
    }

    /// The value as it stands in the text.
    pub(crate) fn raw(&self, item: Item) -> &'t str {
        self.text.get(self.span(item).range()).unwrap_or_default()
    }

    /// The text of a string and where it stands, or `None` if the item is no string.
    pub(crate) fn word(&self, item: Item) -> Option<Word<'_>> {
        let cell = self.cell(item);
        let span = Span { start: cell.start + 1, end: cell.end.saturating_sub(1).max(cell.start + 1) };
        if cell.kind == Kind::Plain {
            Some(Word { text: self.text.get(span.range())?, span })
        } else if cell.kind == Kind::Escaped {
            Some(Word { text: self.decoded.get(cell.link as usize)?, span })
        } else {
            None
        }
    }

    /// The text of a key.
    pub(crate) fn key(&self, item: Item) -> Word<'_> {
        self.word(item).unwrap_or(Word { text: "", span: self.span(item) })
    }

    /// The elements of an array; nothing for anything else.
    pub(crate) fn elements(&self, item: Item) -> impl Iterator<Item = Item> {
        self.children(item, Kind::Array)
    }

    /// The keys and values of an object; nothing for anything else.
    pub(crate) fn members(&self, item: Item) -> impl Iterator<Item = (Item, Item)> {
        let mut children = self.children(item, Kind::Object);
        std::iter::from_fn(move || Some((children.next()?, children.next()?)))
    }

    /// The value of a key of an object.
    pub(crate) fn member(&self, item: Item, key: &str) -> Option<Item> {
        self.members(item).find(|(name, _)| self.key(*name).text == key).map(|(_, value)| value)
    }

    fn children(&self, item: Item, kind: Kind) -> Children<'_, 't> {
        let cell = self.cell(item);
        let end = if cell.kind == kind { cell.link } else { 0 };
        Children { tree: self, next: item.0 + 1, end }
    }

    fn cell(&self, item: Item) -> &Cell {
        &self.cells[item.0 as usize]
    }

    fn after(&self, item: u32) -> u32 {
        let cell = &self.cells[item as usize];
        if cell.kind.is_container() { cell.link } else { item + 1 }
    }

    /// The innermost value or key that covers the byte at `at`; a byte between tokens belongs to the
    /// token before it.
    pub(crate) fn token_at(&self, within: Item, at: u32) -> Item {
        let end = self.after(within.0);
        let cells = &self.cells[within.0 as usize..end as usize];
        let count = cells.partition_point(|cell| cell.start <= at);
        Item(within.0 + u32::try_from(count.saturating_sub(1)).unwrap_or(0))
    }

    /// What a JSON pointer names within an item; as far as it leads, if it leads nowhere.
    pub(crate) fn resolve(&self, within: Item, pointer: &str) -> Item {
        let mut item = within;
        for step in pointer.split('/').skip(1) {
            let step: Cow<'_, str> = if step.contains('~') {
                step.replace("~1", "/").replace("~0", "~").into()
            } else {
                step.into()
            };
            let element = || step.parse().ok().and_then(|index: usize| self.elements(item).nth(index));
            let Some(next) = self.member(item, &step).or_else(element) else { break };
            item = next;
        }
        item
    }

    /// The JSON pointer of the innermost value at a byte of the text. A key stands for its value.
    pub(crate) fn pointer(&self, at: u32) -> String {
        let mut pointer = String::new();
        let mut next = self.root();
        while let Some(container) = next {
            if let Some((index, element)) =
                self.elements(container).enumerate().find(|(_, element)| self.covers(*element, at))
            {
                pointer.push_str(&format!("/{index}"));
                next = Some(element);
            } else if let Some((key, value)) =
                self.members(container).find(|(key, value)| self.covers(*key, at) || self.covers(*value, at))
            {
                pointer.push('/');
                pointer.push_str(&self.key(key).text.replace('~', "~0").replace('/', "~1"));
                next = self.covers(value, at).then_some(value);
            } else {
                next = None;
            }
        }
        pointer
    }

    fn covers(&self, item: Item, at: u32) -> bool {
        let cell = self.cell(item);
        cell.start <= at && at < cell.end
    }
}

// === impl Kind ===

impl Kind {
    pub(crate) fn is_container(self) -> bool {
        matches!(self, Self::Array | Self::Object)
    }

    /// How a message calls a value of this kind.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::False | Self::True => "a truth value",
            Self::Number => "a number",
            Self::Plain | Self::Escaped => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
            Self::Hole => "something unreadable",
        }
    }
}

impl Iterator for Children<'_, '_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if self.next >= self.end {
            return None;
        }
        let item = self.next;
        self.next = self.tree.after(item);
        Some(Item(item))
    }
}
