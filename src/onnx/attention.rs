//! Attention in one node, and products of tensors by the names of their axes.

use super::chain::{Chain, Part, folded, places};
use super::literal::{Data, Literal, broadcast_shape, count, grown, strides};
use super::node::{Lowered, Node, Table};
use super::places::place;
use crate::Result;
use crate::plan::{Binary, Op, Reduction, Unary};

pub(super) const TABLE: Table = &[("Attention", attention), ("MultiHeadAttention", attention), ("Einsum", einsum)];

/// Q, K or V as `[batch, heads, positions, width]`.
fn heads(node: &Node, chain: &mut Chain, index: usize, names: [&str; 2]) -> Result<Part> {
    let x = chain.input(node, index)?;
    match x.shape[..] {
        [_, _, _, _] => Ok(x),
        [batch, positions, width] => {
            let count = names.iter().map(|name| node.int(name, 0)).find(|&count| count > 0).unwrap_or(0) as usize;
            if count == 0 || !width.is_multiple_of(count) {
                return Err(node.refuse(format!("{count} heads of {width} numbers")));
            }
            let x = chain.reshape(&x, vec![batch, positions, count, width / count]);
            Ok(chain.permute(&x, &[0, 2, 1, 3]))
        }
        _ => {
            Err(node.refuse(format!("its input {index} has the shape {:?}; three or four axes are accepted", x.shape)))
        }
    }
}

/// softmax(scale · Q·Kᵀ + mask) · V.
fn attention(node: &Node) -> Result<Lowered> {
    let is_standard = node.operator() == "Attention";
    if !is_standard && (3..8).any(|index| node.has(index) && index != 5)
        || (is_standard && (4..6).any(|index| node.has(index)))
    {
        return Err(node.refuse("past keys, padding or a bias of its own; query, key, value and a mask are accepted"));
    }
    if !node.has(1) || !node.has(2) || node.outputs > 1 {
        return Err(node.refuse("query, key and value as three inputs, and one output, are accepted"));
    }
    let mut chain = Chain::of(node);
    let q = heads(node, &mut chain, 0, ["q_num_heads", "num_heads"])?;
    let [mut k, mut v] = [
        heads(node, &mut chain, 1, ["kv_num_heads", "num_heads"])?,
        heads(node, &mut chain, 2, ["kv_num_heads", "num_heads"])?,
    ];
    let (batch, count, n) = (q.shape[0], q.shape[1], q.shape[2]);
    if [k.shape[0], v.shape[0]] != [batch, batch]
        || k.shape[3] != q.shape[3]
        || k.shape[2] != v.shape[2]
        || k.shape[1] != v.shape[1]
        || !count.is_multiple_of(k.shape[1])
    {
        return Err(node.refuse(format!("query {:?}, key {:?} and value {:?} do not fit", q.shape, k.shape, v.shape)));
    }
    // Several heads of the query share one of the keys.
    let shared = count / k.shape[1];
    if shared > 1 {
        for part in [&mut k, &mut v] {
            let mut shape = part.shape.clone();
            shape[1] = count;
            let indices = (0..count).map(|head| head / shared).collect();
            *part = chain.step(Op::Select { axis: 1, indices }, &[part], shape);
        }
    }
    let m = k.shape[2];
    let scale = node.optional_float("scale").filter(|&scale| scale != 0.).unwrap_or(1. / (q.shape[3] as f32).sqrt());
    // Half of the scale on either side, as the standard and its exporters have it.
    let turned = chain.permute(&k, &[0, 1, 3, 2]);
    let q = chain.with(Binary::Mul, &q, scale.sqrt());
    let turned = chain.with(Binary::Mul, &turned, scale.sqrt());
    let mut scores = chain.product(&q, &turned);
    let softcap = node.float("softcap", 0.);
    if softcap != 0. && is_standard {
        scores = chain.with(Binary::Div, &scores, softcap);
        scores = chain.unary(Unary::Tanh, &scores);
        scores = chain.with(Binary::Mul, &scores, softcap);
    }
    let mask_at = if is_standard { 3 } else { 5 };
    if node.has(mask_at) {
        let mask = match node.constant(mask_at) {
            Some(literal) => match &literal.data {
                Data::Float(_) => Part::constant(Literal::clone(literal)),
                Data::Int(kept) => {
                    let numbers = kept.iter().map(|&kept| if kept != 0 { 0. } else { f32::NEG_INFINITY }).collect();
                    Part::constant(Literal::float(literal.shape.clone(), numbers))
                }
            },
            None => chain.input(node, mask_at)?,
        };
        if broadcast_shape(&scores.shape, &mask.shape).as_ref() != Some(&scores.shape) {
            return Err(node.refuse(format!("a mask {:?} for {:?}", mask.shape, scores.shape)));
        }
        scores = chain.binary(Binary::Add, &scores, &mask);
    }
    if node.int("is_causal", node.int("unidirectional", 0)) != 0 {
        grown(&[n, m], 0).ok_or_else(|| node.refuse(format!("a mask of {n} by {m}")))?;
        let ahead = (0..n * m).map(|i| if i % m <= i / m { 0. } else { f32::NEG_INFINITY }).collect();
        scores = chain.binary(Binary::Add, &scores, &Part::constant(Literal::float(vec![n, m], ahead)));
    }
    let weights = chain.softmax(&scores, 3);
    let mixed = chain.product(&weights, &v);
    let width = v.shape[3];
    if node.dims(0)?.len() == 4 {
        let shape = mixed.shape.clone();
        return chain.done(&mixed, shape);
    }
    let mixed = chain.permute(&mixed, &[0, 2, 1, 3]);
    chain.done(&mixed, vec![batch, n, count * width])
}

/// One operand of an Einsum: its numbers in a row and, for each label, its size and the distance of neighbours.
struct Named {
    part: Part,
    labels: Vec<char>,
    sides: Vec<usize>,
}

impl Named {
    fn side(&self, label: char) -> Option<usize> {
        Some(self.sides[self.labels.iter().position(|&own| own == label)?])
    }

    /// The numbers in the order of `wanted` labels, under `shape`.
    fn arranged(&self, node: &Node, chain: &mut Chain, wanted: &[char], shape: Vec<usize>) -> Result<Part> {
        let from = strides(&self.sides);
        let sides: Vec<usize> = wanted.iter().map(|&label| self.side(label).unwrap_or(1)).collect();
        // A label that comes twice walks along a diagonal.
        let steps: Vec<usize> = wanted
            .iter()
            .map(|wanted| {
                let own = self.labels.iter().zip(&from).filter(|(label, _)| *label == wanted);
                own.map(|(_, step)| step).sum()
            })
            .collect();
        let found = places(node, &sides, &mut |at| Some(place(at, &steps)))?;
        Ok(chain.pick(&self.part, found, 0., shape))
    }
}

fn einsum(node: &Node) -> Result<Lowered> {
    let equation: String = node.text("equation").unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
    summed(node, &equation)
}

/// What an equation of labels makes of the inputs.
pub(super) fn summed(node: &Node, equation: &str) -> Result<Lowered> {
    let refuse = || node.refuse(format!("the equation `{equation}` for these shapes"));
    let (left, right) = equation.split_once("->").map_or((equation, None), |(l, r)| (l, Some(r)));
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != node.inputs.len() || terms.len() > 8 {
        return Err(refuse());
    }
    // Axes under an ellipsis get the labels '0', '1', … from the last one.
    let spread = |term: &str, rank: usize| -> Option<Vec<char>> {
        let (before, after) = match term.split_once("...") {
            Some((before, after)) => (before, Some(after)),
            None => (term, None),
        };
        let mut labels: Vec<char> = before.chars().collect();
        if let Some(after) = after {
            let hidden = rank.checked_sub(before.chars().count() + after.chars().count())?;
            labels.extend((0..hidden).rev().filter_map(|i| char::from_digit(i as u32, 36)));
            labels.extend(after.chars());
        }
        Some(labels)
    };
    let mut chain = Chain::of(node);
    let mut operands: Vec<Named> = vec![];
    for (index, term) in terms.iter().enumerate() {
        let sides = node.dims(index)?;
        let labels = spread(term, sides.len()).filter(|labels| labels.len() == sides.len()).ok_or_else(refuse)?;
        for (label, &side) in labels.iter().zip(&sides) {
            let others = operands.iter().filter_map(|other: &Named| other.side(*label));
            if others.into_iter().any(|other| other != side && other != 1 && side != 1) {
                return Err(refuse());
            }
        }
        let part = chain.shaped(node, index, if sides.len() > 4 { folded(&sides) } else { sides.clone() })?;
        operands.push(Named { part, labels, sides });
    }
    let hidden = operands
        .iter()
        .flat_map(|o| &o.labels)
        .filter(|c| c.is_ascii_digit())
        .collect::<std::collections::BTreeSet<_>>();
    let hidden: Vec<char> = hidden.into_iter().rev().copied().collect();
    let out: Vec<char> = match right {
        Some(right) => spread(right, right.chars().filter(|&c| c != '.').count() + hidden.len()).ok_or_else(refuse)?,
        None => {
            let once = ('A'..='z').filter(|c| c.is_alphabetic() && left.matches(*c).count() == 1);
            hidden.iter().copied().chain(once).collect()
        }
    };
    if out.iter().any(|&label| operands.iter().all(|operand| operand.side(label).is_none())) {
        return Err(refuse());
    }
    let mut operands = operands.into_iter();
    let mut sum = operands.next().ok_or_else(refuse)?;
    let rest: Vec<Named> = operands.collect();
    for (i, other) in rest.iter().enumerate() {
        let needed =
            |label: char| out.contains(&label) || rest[i + 1..].iter().any(|later| later.labels.contains(&label));
        sum = multiplied(node, &mut chain, &sum, other, &needed)?;
    }
    // What is left over is summed.
    let mut order = out.clone();
    let extra: Vec<char> = unique(&sum.labels).into_iter().filter(|label| !out.contains(label)).collect();
    order.extend(&extra);
    let size = |labels: &[char]| -> usize { labels.iter().map(|&label| sum.side(label).unwrap_or(1)).product() };
    let shape: Vec<usize> = out.iter().map(|&label| sum.side(label).unwrap_or(1)).collect();
    count(&shape).ok_or_else(refuse)?;
    let mut stored = folded(&shape);
    let mut result = if extra.is_empty() {
        let wanted = if shape.len() > 4 { stored } else { shape.clone() };
        sum.arranged(node, &mut chain, &order, wanted)?
    } else {
        stored.push(size(&extra));
        let rows = sum.arranged(node, &mut chain, &order, stored)?;
        chain.reduce(Reduction::Sum, &rows, &[2])
    };
    if shape.len() <= 4 {
        result = chain.reshape(&result, shape.clone());
    } else {
        result = chain.reshape(&result, folded(&shape));
    }
    chain.done(&result, shape)
}

fn unique(labels: &[char]) -> Vec<char> {
    let mut found: Vec<char> = vec![];
    labels.iter().for_each(|label| {
        if !found.contains(label) {
            found.push(*label);
        }
    });
    found
}

/// The product of two operands by a product of matrices, without the labels that nothing else needs.
fn multiplied(node: &Node, chain: &mut Chain, a: &Named, b: &Named, needed: &dyn Fn(char) -> bool) -> Result<Named> {
    let (in_a, in_b) = (unique(&a.labels), unique(&b.labels));
    let both = |wanted: bool| in_a.iter().copied().filter(move |&label| wanted == needed(label)).collect::<Vec<_>>();
    let is_shared = |label: &char| in_b.contains(label) && a.side(*label) == b.side(*label);
    let batch: Vec<char> = both(true).into_iter().filter(is_shared).collect();
    let inner: Vec<char> = both(false).into_iter().filter(is_shared).collect();
    let is_own = |label: &char| !batch.contains(label) && !inner.contains(label);
    // A label of size one in one of them is the other's.
    let of = |own: &Named, labels: &[char], other: &Named| -> Vec<char> {
        let keeps = |label: &char| own.side(*label) != Some(1) || other.side(*label).is_none();
        labels.iter().copied().filter(is_own).filter(keeps).collect()
    };
    let (rows, columns) = (of(a, &in_a, b), of(b, &in_b, a));
    let size = |own: &Named, labels: &[char]| -> usize { labels.iter().map(|&l| own.side(l).unwrap_or(1)).product() };
    let (n, k, m, count) = (size(a, &rows), size(a, &inner), size(b, &columns), size(a, &batch));
    let (first, rest) = batch.split_at(batch.len().min(1));
    let lead = if batch.is_empty() { vec![1, 1] } else { vec![size(a, first), size(a, rest)] };
    debug_assert_eq!(lead.iter().product::<usize>(), count);
    let left = a.arranged(node, chain, &[&batch[..], &rows, &inner].concat(), [&lead[..], &[n, k]].concat())?;
    let right = b.arranged(node, chain, &[&batch[..], &inner, &columns].concat(), [&lead[..], &[k, m]].concat())?;
    let part = chain.product(&left, &right);
    let labels = [batch.clone(), rows.clone(), columns.clone()].concat();
    let sides = labels.iter().map(|&label| match columns.contains(&label) {
        true => b.side(label).unwrap_or(1),
        false => a.side(label).unwrap_or(1),
    });
    Ok(Named { part, sides: sides.collect(), labels })
}
