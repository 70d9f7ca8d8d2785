//! On which values' places the output depends at all: not on those that are all cut away behind them, as the places of the
//! image are where a class token alone goes on.

use crate::engine::run_step;
use crate::plan::{LayerForm, Op, Plan, Source, Unary, ValueId, rank4};
use crate::tensor::{numbers, tensor};

/// Which numbers of a value the output depends on.
#[derive(Clone)]
enum Needed {
    None,
    All,
    Some(Vec<bool>),
}

/// For each value of the plan, whether the output depends on any of its numbers, of a layer on any that belong to a place.
pub(super) fn reaching(plan: &Plan) -> Vec<bool> {
    let mut reached = vec![false; plan.values.len()];
    each(plan, |value, needed| {
        reached[value.0] = match (needed, LayerForm::of(&plan.values[value.0])) {
            (Needed::Some(mask), Some((form, shape))) => {
                mask.iter().enumerate().any(|(number, &needed)| needed && form.is_of_place(number, mask.len(), shape))
            }
            _ => true,
        };
    });
    reached
}

/// For each number of a value, whether the output depends on it.
pub(super) fn read(plan: &Plan, value: ValueId) -> Vec<bool> {
    let mut found = vec![false; plan.values[value.0].shape.iter().product()];
    each(plan, |other, needed| {
        if other == value {
            match needed {
                Needed::Some(mask) => found.clone_from(mask),
                _ => found.fill(true),
            }
        }
    });
    found
}

/// Calls `visit` with each value on which the output depends, the last one first.
fn each(plan: &Plan, mut visit: impl FnMut(ValueId, &Needed)) {
    let shape = |value: ValueId| rank4(&plan.values[value.0].shape);
    let mut needed = vec![Needed::None; plan.values.len()];
    needed[plan.output.value.0] = Needed::All;
    for step in plan.steps.iter().rev() {
        let mask = std::mem::replace(&mut needed[step.output.0], Needed::None);
        if matches!(mask, Needed::None) {
            continue;
        }
        visit(step.output, &mask);
        let mut start = 0;
        for (index, source) in step.inputs.iter().enumerate() {
            let (own, out) = match source {
                Source::Value(value) => (shape(*value), shape(step.output)),
                Source::Constant(constant) => (plan.constants[*constant].shape, shape(step.output)),
            };
            let before = start;
            if let Op::Concat { axis } = &step.op {
                start += own[*axis];
            }
            let Source::Value(value) = source else { continue };
            let share = match &step.op {
                Op::Concat { axis } => match &mask {
                    Needed::Some(mask) => part(mask, out, *axis, before, own[*axis]),
                    _ => Needed::All,
                },
                op => back(op, index, &mask, own, out),
            };
            let seat = &mut needed[value.0];
            *seat = match (std::mem::replace(seat, Needed::None), share) {
                (Needed::All, _) | (_, Needed::All) => Needed::All,
                (Needed::Some(mut all), Needed::Some(more)) => {
                    all.iter_mut().zip(more).for_each(|(all, more)| *all |= more);
                    Needed::Some(all)
                }
                (Needed::None, other) | (other, Needed::None) => other,
            };
        }
    }
}

/// The places of an operand of the given shape from which the needed places of the result are computed.
fn back(op: &Op, operand: usize, mask: &Needed, own: [usize; 4], out: [usize; 4]) -> Needed {
    // Steps of a stair: nothing grows with them.
    if let Op::Unary(Unary::Step | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Sign) = op {
        return Needed::None;
    }
    let count = own.iter().product::<usize>();
    let picks = matches!(op, Op::Slice { .. } | Op::Select { .. } | Op::Pick { .. });
    let all = vec![true; if picks { out.iter().product() } else { 0 }];
    let mask = match mask {
        Needed::Some(mask) => mask,
        // All of the result is all of the operand, unless some of it is left out.
        _ if picks => &all,
        _ => return Needed::All,
    };
    match op {
        Op::Slice { .. }
        | Op::Select { .. }
        | Op::Pick { .. }
        | Op::Pad { .. }
        | Op::Reshape
        | Op::Permute(_)
        | Op::Rearrange { .. } => {
            // Beyond that floats do not tell places apart.
            if count > 1 << 24 {
                return Needed::All;
            }
            // Where the number of each place comes from. What is filled in comes from nowhere.
            let mut op = op.clone();
            if let Op::Pick { fill: filled, .. } | Op::Pad { value: filled, .. } = &mut op {
                *filled = -1.;
            }
            let places = run_step(&op, &[tensor((0..count).map(|i| i as f32).collect(), own)], out);
            let mut found = vec![false; count];
            for (place, _) in numbers(places).into_iter().zip(mask).filter(|(place, needed)| **needed && *place >= 0.) {
                found[place as usize] = true;
            }
            kept(found)
        }
        Op::Affine | Op::Unary(_) | Op::Binary(_) | Op::Prelu | Op::Quantize { .. } | Op::Dequantize | Op::Expand => {
            kept(onto(mask, out, own))
        }
        Op::Normalize { axes, .. } if operand == 0 => kept(spread(mask, out, own, axes)),
        Op::Softmax { axis, flatten: false, .. } => kept(spread(mask, out, own, &[*axis])),
        // A row of the result is of a row of the operand.
        Op::Linear { .. } if operand == 0 => kept(spread(mask, out, own, &[3])),
        Op::Reduce { axes, .. } if (0..4).all(|axis| axes.contains(&axis) || own[axis] == out[axis]) => {
            kept(spread(mask, out, own, axes))
        }
        _ => Needed::All,
    }
}

fn kept(mask: Vec<bool>) -> Needed {
    if mask.iter().all(|&needed| !needed) { Needed::None } else { Needed::Some(mask) }
}

/// Calls `each` with every place of a shape, and with the sum of what the coordinates add by `steps`.
fn walk(shape: [usize; 4], steps: [usize; 4], mut each: impl FnMut(usize, usize)) {
    let mut place = 0;
    for a in 0..shape[0] {
        for b in 0..shape[1] {
            for c in 0..shape[2] {
                let start = a * steps[0] + b * steps[1] + c * steps[2];
                for d in 0..shape[3] {
                    each(place, start + d * steps[3]);
                    place += 1;
                }
            }
        }
    }
}

/// From a coordinate to the next along each axis, 0 along those of size one and along `without`.
fn steps(shape: [usize; 4], without: &[usize]) -> [usize; 4] {
    std::array::from_fn(|axis| match shape[axis] == 1 || without.contains(&axis) {
        true => 0,
        false => shape[axis + 1..].iter().product(),
    })
}

/// The mask of an operand that repeats along axes of size one.
fn onto(mask: &[bool], out: [usize; 4], own: [usize; 4]) -> Vec<bool> {
    let mut found = vec![false; own.iter().product()];
    walk(out, steps(own, &[]), |place, target| found[target] |= mask[place]);
    found
}

/// The mask of an operand whose numbers along `axes` all count if one of the result's does.
fn spread(mask: &[bool], out: [usize; 4], own: [usize; 4], axes: &[usize]) -> Vec<bool> {
    let mut rows = vec![false; own.iter().product()];
    walk(out, steps(own, axes), |place, row| rows[row] |= mask[place]);
    let mut found = rows.clone();
    walk(own, steps(own, axes), |place, row| found[place] = rows[row]);
    found
}

/// The mask of a part of the result along an axis.
fn part(mask: &[bool], out: [usize; 4], axis: usize, start: usize, length: usize) -> Needed {
    let mut own = out;
    own[axis] = length;
    let mut steps = steps(out, &[]);
    if out[axis] == 1 {
        steps[axis] = 0;
    }
    let offset = start * out[axis + 1..].iter().product::<usize>();
    let mut found = vec![false; own.iter().product()];
    walk(own, steps, |place, target| found[place] = mask[offset + target]);
    kept(found)
}
