//! Recurrent layers, one position after the other.

use super::chain::{Chain, Part};
use super::literal::{Along, Literal, grown};
use super::node::{Lowered, Node, Table};
use crate::Result;
use crate::plan::{Binary, Unary};

pub(super) const TABLE: Table =
    &[("LSTM", |node| recurrent(node, 4)), ("GRU", |node| recurrent(node, 3)), ("RNN", |node| recurrent(node, 1))];

/// How many positions a sequence may have: each becomes a dozen steps.
const POSITIONS: usize = 4096;

/// What the gates of one direction do.
struct Functions([Unary; 3]);

impl Functions {
    fn of(node: &Node, direction: usize, gates: usize) -> Result<Functions> {
        let standard: &[&str] = match gates {
            4 => &["Sigmoid", "Tanh", "Tanh"],
            3 => &["Sigmoid", "Tanh"],
            _ => &["Tanh"],
        };
        let given = node.texts("activations").unwrap_or_default();
        let mut found = [Unary::Tanh; 3];
        for (at, name) in standard.iter().enumerate() {
            let name = given.get(direction * standard.len() + at).map_or(*name, String::as_str);
            found[at] = match name {
                "Sigmoid" => Unary::Sigmoid,
                "Tanh" => Unary::Tanh,
                "Relu" => Unary::Relu,
                "Softsign" => Unary::Softsign,
                "Softplus" => Unary::Softplus,
                other => {
                    return Err(node.refuse(format!(
                        "the activation {other}; Sigmoid, Tanh, Relu, Softsign and Softplus are accepted"
                    )));
                }
            };
        }
        Ok(Functions(found))
    }
}

fn recurrent(node: &Node, gates: usize) -> Result<Lowered> {
    let by_batch = node.int("layout", 0) != 0;
    let mut chain = Chain::of(node);
    let mut x = chain.input(node, 0)?;
    if x.shape.len() != 3 {
        return Err(node.refuse(format!("an input of the shape {:?}; three axes are accepted", x.shape)));
    }
    if by_batch {
        x = chain.permute(&x, &[1, 0, 2]);
    }
    let (positions, batch, width) = (x.shape[0], x.shape[1], x.shape[2]);
    let (w, r) = (node.required_constant(1, "the weights")?, node.required_constant(2, "the recurrent weights")?);
    let [directions, rows, columns] = w.shape[..] else {
        return Err(node.refuse("weights of three axes are accepted"));
    };
    let hidden = rows / gates.max(1);
    let wanted = match node.text("direction").as_deref() {
        Some("bidirectional") => 2,
        _ => 1,
    };
    if columns != width || r.shape != [directions, rows, hidden] || rows != hidden * gates || directions != wanted {
        return Err(node.refuse(format!("weights {:?} and {:?} for {width} numbers", w.shape, r.shape)));
    }
    if positions > POSITIONS {
        return Err(node.refuse(format!("{positions} positions; up to {POSITIONS} are accepted")));
    }
    let full = node.constant(4).is_none_or(|lengths| lengths.floats().iter().all(|&length| length == positions as f32));
    if (node.has(4) && (node.constant(4).is_none() || !full)) || node.has(7) || node.has_attribute("clip") {
        return Err(node.refuse("sequences of other lengths, peepholes or clipping; plain layers are accepted"));
    }
    let bias = match node.has(3) {
        true => node.required_constant(3, "the bias")?.floats(),
        false => vec![0.; directions * 2 * rows],
    };
    if bias.len() != directions * 2 * rows || node.int("input_forget", 0) != 0 {
        return Err(node.refuse(format!("a bias of {} numbers", bias.len())));
    }
    // The states begin with as many zeros.
    grown(&[batch, hidden], 0).ok_or_else(|| node.refuse(format!("states of {batch} × {hidden} numbers")))?;
    let one = |direction: usize| Along::Every { start: direction, step: 1, count: 1 };
    // All positions at once: x·Wᵀ.
    let flat = chain.reshape(&x, vec![positions * batch, width]);
    let mut outputs: Vec<Vec<Part>> = vec![];
    let mut last: [Vec<Part>; 2] = [vec![], vec![]];
    for direction in 0..directions {
        let of = |literal: &Literal, columns: usize| {
            let mut own = literal.transposed(&[0, 2, 1]);
            if directions > 1 {
                own = own.select(vec![one(direction), Along::all(columns), Along::all(rows)]);
            }
            Part::constant(own.reshaped(vec![columns, rows]))
        };
        let (w, r) = (of(w, width), of(r, hidden));
        let (bias_w, bias_r) = bias[direction * 2 * rows..][..2 * rows].split_at(rows);
        let row = |numbers: &[f32]| Part::constant(Literal::float(vec![1, numbers.len()], numbers.to_vec()));
        let projected = chain.product(&flat, &w);
        let projected = chain.binary(Binary::Add, &projected, &row(bias_w));
        let functions = Functions::of(node, direction, gates)?;
        let state = |chain: &mut Chain, index: usize| -> Result<Part> {
            if !node.has(index) {
                return Ok(Part::constant(Literal::float(vec![batch, hidden], vec![0.; batch * hidden])));
            }
            let all = chain.input(node, index)?;
            let wanted = if by_batch { [batch, directions, hidden] } else { [directions, batch, hidden] };
            if all.shape != wanted {
                return Err(node.refuse(format!("a state {:?}; {wanted:?} is accepted", all.shape)));
            }
            let all = if by_batch { chain.permute(&all, &[1, 0, 2]) } else { all };
            let own = match node.constant(index) {
                Some(literal) if !by_batch => {
                    Part::constant(literal.select(vec![one(direction), Along::all(batch), Along::all(hidden)]))
                }
                _ => chain.slice(&all, 0, direction, direction + 1),
            };
            Ok(chain.reshape(&own, vec![batch, hidden]))
        };
        let mut h = state(&mut chain, 5)?;
        let mut c = if gates == 4 { Some(state(&mut chain, 6)?) } else { None };
        let is_backwards = direction == 1 || node.text("direction").as_deref() == Some("reverse");
        let mut results = vec![];
        for step in 0..positions {
            let at = if is_backwards { positions - 1 - step } else { step };
            let input = chain.slice(&projected, 0, at * batch, (at + 1) * batch);
            h = advance(node, &mut chain, gates, hidden, &functions, (&input, &r, &row(bias_r)), &h, &mut c);
            results.push(h.clone());
        }
        if is_backwards {
            results.reverse();
        }
        outputs.push(results);
        last[0].push(h);
        last[1].extend(c);
    }
    // [positions, directions, batch, hidden], or with the batch in front.
    let mut parts: Vec<Part> = vec![];
    for at in 0..positions {
        for results in &outputs {
            parts.push(chain.reshape(&results[at], vec![1, batch, hidden]));
        }
    }
    let all = chain.concat(&parts.iter().collect::<Vec<_>>(), 0);
    let mut y = chain.reshape(&all, vec![positions, directions, batch, hidden]);
    if by_batch {
        y = chain.permute(&y, &[2, 0, 1, 3]);
    }
    let mut found = vec![(y.clone(), y.shape.clone())];
    for states in last.iter().filter(|states| !states.is_empty()) {
        let rows: Vec<Part> = states.iter().map(|state| chain.reshape(state, vec![1, batch, hidden])).collect();
        let mut joined = chain.concat(&rows.iter().collect::<Vec<_>>(), 0);
        if by_batch {
            joined = chain.permute(&joined, &[1, 0, 2]);
        }
        let shape = joined.shape.clone();
        found.push((joined, shape));
    }
    chain.several(&found.iter().map(|(part, shape)| (part, shape.clone())).collect::<Vec<_>>())
}

/// One position: the next hidden state, and the next cell.
#[expect(clippy::too_many_arguments, reason = "what a layer is made of")]
fn advance(
    node: &Node,
    chain: &mut Chain,
    gates: usize,
    hidden: usize,
    Functions([f, g, out]): &Functions,
    (input, r, bias_r): (&Part, &Part, &Part),
    h: &Part,
    c: &mut Option<Part>,
) -> Part {
    let recurrent = chain.product(h, r);
    let recurrent = chain.binary(Binary::Add, &recurrent, bias_r);
    if gates == 3 {
        return gated(node, chain, hidden, [*f, *g], (input, &recurrent, r, bias_r), h);
    }
    let sum = chain.binary(Binary::Add, input, &recurrent);
    let Some(cell) = c else { return chain.unary(*f, &sum) };
    let mut gate = |at: usize, function: Unary| {
        let part = chain.slice(&sum, 1, at * hidden, (at + 1) * hidden);
        chain.unary(function, &part)
    };
    // In the file's order: input, output, forget, cell.
    let (input, output, forget, new) = (gate(0, *f), gate(1, *f), gate(2, *f), gate(3, *g));
    let kept = chain.binary(Binary::Mul, &forget, cell);
    let added = chain.binary(Binary::Mul, &input, &new);
    let next = chain.binary(Binary::Add, &kept, &added);
    let shown = chain.unary(*out, &next);
    *cell = next;
    chain.binary(Binary::Mul, &output, &shown)
}

/// A position of a GRU.
fn gated(
    node: &Node,
    chain: &mut Chain,
    hidden: usize,
    [f, g]: [Unary; 2],
    (input, recurrent, r, bias_r): (&Part, &Part, &Part, &Part),
    h: &Part,
) -> Part {
    let both = chain.binary(Binary::Add, input, recurrent);
    let mut gate = |at: usize| {
        let part = chain.slice(&both, 1, at * hidden, (at + 1) * hidden);
        chain.unary(f, &part)
    };
    let (update, reset) = (gate(0), gate(1));
    let own = if node.int("linear_before_reset", 0) != 0 {
        let part = chain.slice(recurrent, 1, 2 * hidden, 3 * hidden);
        chain.binary(Binary::Mul, &reset, &part)
    } else {
        let before = chain.binary(Binary::Mul, &reset, h);
        let all = chain.product(&before, r);
        let all = chain.binary(Binary::Add, &all, bias_r);
        chain.slice(&all, 1, 2 * hidden, 3 * hidden)
    };
    let part = chain.slice(input, 1, 2 * hidden, 3 * hidden);
    let new = chain.binary(Binary::Add, &part, &own);
    let new = chain.unary(g, &new);
    // (1 − z)·new + z·h.
    let change = chain.binary(Binary::Sub, h, &new);
    let change = chain.binary(Binary::Mul, &update, &change);
    chain.binary(Binary::Add, &new, &change)
}
