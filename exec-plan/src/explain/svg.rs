//! The explanation as an SVG picture that needs no script: one row per level, edges as curves.

use std::fmt::Write;

use super::{Explain, ExplainNode};

const BOX_WIDTH: usize = 190;
const BOX_HEIGHT: usize = 46;
const GAP_X: usize = 30;
const GAP_Y: usize = 54;
const MARGIN: usize = 20;

/// Where a node stands: its upper left corner.
#[derive(Clone, Copy)]
struct Corner {
    x: usize,
    y: usize,
}

impl Explain {
    /// The plan as an SVG picture.
    pub fn to_svg(&self) -> String {
        let corners = self.layout();
        let width = corners.iter().map(|corner| corner.x + BOX_WIDTH).max().unwrap_or(0) + MARGIN;
        let height = corners.iter().map(|corner| corner.y + BOX_HEIGHT).max().unwrap_or(0) + MARGIN;
        let title = escaped(&format!("{}@{}", self.graph, self.version));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <title>{title}</title>\n\
             <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" \
             markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#667\"/></marker></defs>\n"
        );
        for (node, to) in self.nodes.iter().zip(&corners) {
            for from in node.inputs.iter().filter_map(|feed| feed.node) {
                edge(&mut svg, corners[from], *to);
            }
        }
        for (node, corner) in self.nodes.iter().zip(&corners) {
            draw(&mut svg, node, *corner, self.critical_path.contains(&node.id));
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// One row per level, each row centred over the widest.
    fn layout(&self) -> Vec<Corner> {
        let depth = self.nodes.iter().map(|node| node.level + 1).max().unwrap_or(0);
        let mut rows = vec![0_usize; depth];
        let places: Vec<usize> = self
            .nodes
            .iter()
            .map(|node| {
                rows[node.level] += 1;
                rows[node.level] - 1
            })
            .collect();
        let widest = rows.iter().copied().max().unwrap_or(0);
        let step = BOX_WIDTH + GAP_X;
        self.nodes
            .iter()
            .zip(places)
            .map(|(node, place)| Corner {
                x: MARGIN + (widest - rows[node.level]) * step / 2 + place * step,
                y: MARGIN + node.level * (BOX_HEIGHT + GAP_Y),
            })
            .collect()
    }
}

fn edge(svg: &mut String, from: Corner, to: Corner) {
    let (x1, y1) = (from.x + BOX_WIDTH / 2, from.y + BOX_HEIGHT);
    let (x2, y2) = (to.x + BOX_WIDTH / 2, to.y);
    let bend = GAP_Y / 2;
    // Writing to a string cannot fail.
    let _ok = writeln!(
        svg,
        "<path d=\"M{x1} {y1}C{x1} {} {x2} {} {x2} {y2}\" fill=\"none\" stroke=\"#667\" marker-end=\"url(#arrow)\"/>",
        y1 + bend,
        y2.saturating_sub(bend)
    );
}

fn draw(svg: &mut String, node: &ExplainNode, corner: Corner, critical: bool) {
    let Corner { x, y } = corner;
    let fill = match node {
        _ if node.answers => "#dcefdc",
        _ if node.routes => "#fdf1d0",
        _ if node.body != "inline" => "#dde7f7",
        _ => "#f4f4f6",
    };
    let (stroke, radius) = (if critical { 2.5 } else { 1.0 }, if node.answers { 20 } else { 5 });
    let middle = x + BOX_WIDTH / 2;
    let _ok = writeln!(
        svg,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"{radius}\" fill=\"{fill}\" \
         stroke=\"#445\" stroke-width=\"{stroke}\"/>\n\
         <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" font-weight=\"bold\">{}</text>\n\
         <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" fill=\"#556\">{}</text>",
        y + 19,
        escaped(&shortened(&node.id)),
        y + 36,
        escaped(&shortened(&node.kernel))
    );
}

/// What fits a box.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 24;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
