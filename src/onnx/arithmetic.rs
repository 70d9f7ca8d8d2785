//! Arithmetic with broadcasting.

use std::rc::Rc;

use super::chain::{Chain, Part, folded};
use super::literal::{Data, Literal, broadcast_shape, element, grown};
use super::node::{Input, Lowered, NewStep, Node, Resolved, Table};
use super::shape::flat;
use super::view;
use crate::Result;
use crate::plan::{Binary, Op, Unary};

pub(super) const TABLE: Table = &[
    ("Add", |node| nary(node, Binary::Add)),
    ("Sub", |node| nary(node, Binary::Sub)),
    ("Mul", |node| nary(node, Binary::Mul)),
    ("Div", |node| nary(node, Binary::Div)),
    ("Sum", |node| nary(node, Binary::Add)),
    ("Mean", mean),
    ("Min", |node| nary(node, Binary::Min)),
    ("Max", |node| nary(node, Binary::Max)),
    ("Pow", power),
    ("Mod", modulo),
    ("Equal", |node| compare(node, |x, y| x == y)),
    ("Less", |node| compare(node, |x, y| x < y)),
    ("Greater", |node| compare(node, |x, y| x > y)),
    ("LessOrEqual", |node| compare(node, |x, y| x <= y)),
    ("GreaterOrEqual", |node| compare(node, |x, y| x >= y)),
    ("And", |node| logic(node, |x, y| x && y)),
    ("Or", |node| logic(node, |x, y| x || y)),
    ("Xor", |node| logic(node, |x, y| x != y)),
    ("Not", not),
    ("Where", choose),
    ("IsNaN", is_nan),
    ("IsInf", is_infinite),
    ("BitShift", shift),
    ("CumSum", cumulated),
];

fn fold(kind: Binary, a: &Literal, b: &Literal) -> Option<Literal> {
    let folded = match kind {
        Binary::Add => Literal::combine(a, b, |x, y| x + y, i64::wrapping_add),
        Binary::Sub => Literal::combine(a, b, |x, y| x - y, i64::wrapping_sub),
        Binary::Mul => Literal::combine(a, b, |x, y| x * y, i64::wrapping_mul),
        Binary::Div => Literal::combine(a, b, |x, y| x / y, |x, y| x.checked_div(y).unwrap_or(0)),
        Binary::Pow => Literal::combine(a, b, f32::powf, whole_power),
        Binary::Min => Literal::combine(a, b, f32::min, i64::min),
        Binary::Max => Literal::combine(a, b, f32::max, i64::max),
        Binary::Keep => None,
    }?;
    Some(match kind {
        // Of the base's type, whatever the exponent's.
        Binary::Pow if a.as_ints().is_some() => folded.cast(a.element),
        _ => folded.wrapped(),
    })
}

/// Towards 0 where it is a fraction.
fn whole_power(x: i64, y: i64) -> i64 {
    match (x, y) {
        (1, _) => 1,
        (-1, _) => 1 - 2 * (y & 1),
        (_, ..0) => 0,
        _ => x.wrapping_pow(u32::try_from(y).unwrap_or(u32::MAX)),
    }
}

/// Integers of a narrow type as it holds them: what is beyond its ends comes in again at the other.
pub(super) fn wrapped(chain: &mut Chain, x: &Part, element: i32) -> Part {
    let Some((low, count)) = element::turn(element) else { return x.clone() };
    let above = chain.with(Binary::Sub, x, low);
    let turns = chain.with(Binary::Mul, &above, 1.0 / count);
    let turns = chain.unary(Unary::Floor, &turns);
    let turned = chain.with(Binary::Mul, &turns, count);
    chain.binary(Binary::Sub, x, &turned)
}

/// The whole number towards 0 from a quotient of integers.
pub(super) fn quotient(chain: &mut Chain, a: &Part, b: &Part) -> Part {
    let [size, by] = [a, b].map(|part| chain.unary(Unary::Abs, part));
    // A half more is in the middle between two whole numbers, whatever way a division rounds.
    let size = chain.with(Binary::Add, &size, 0.5);
    let whole = chain.binary(Binary::Div, &size, &by);
    let whole = chain.unary(Unary::Floor, &whole);
    let signs = [a, b].map(|part| chain.unary(Unary::Sign, part));
    let sign = chain.binary(Binary::Mul, &signs[0], &signs[1]);
    chain.binary(Binary::Mul, &whole, &sign)
}

/// A function of two computed integers or more, whose result is an integer of the same type.
fn integers(node: &Node, kind: Binary) -> Result<Lowered> {
    let mut chain = Chain::of(node);
    let (parts, shape) = together(node, &mut chain, node.inputs.len())?;
    let mut all = parts[0].clone();
    for part in &parts[1..] {
        all = match kind {
            Binary::Div => quotient(&mut chain, &all, part),
            _ => chain.binary(kind, &all, part),
        };
    }
    let all = wrapped(&mut chain, &all, node.element(0));
    chain.done(&all, shape)
}

/// The second operand's shape where, as until opset 6, its axes are the first one's from `axis` on, and there are more.
fn aligned(node: &Node) -> Result<Option<Vec<usize>>> {
    if node.opset > 6 || node.int("broadcast", 0) == 0 || !node.has_attribute("axis") {
        return Ok(None);
    }
    let (first, second) = (node.dims(0)?, node.dims(1)?);
    let axis = node.axis(node.int("axis", 0), first.len())?;
    let end = axis + second.len();
    let fits = |sides: &[usize]| sides.iter().zip(&second).all(|(&side, &own)| own == side || own == 1);
    if !first.get(axis..end).is_some_and(fits) {
        return Err(node.refuse(format!("axis {axis} of {first:?} for {second:?}, which does not fit there")));
    }
    let shape = [second, vec![1; first.len() - end]].concat();
    Ok((end < first.len()).then_some(shape))
}

/// The node with its second operand, a constant, in that shape.
fn as_aligned<'a>(node: &Node<'a>) -> Result<Option<Node<'a>>> {
    let Some(shape) = aligned(node)? else { return Ok(None) };
    let second = node.required_constant(1, "the second operand of a node with an axis")?;
    Ok(Some(node.with_second(second, shape)))
}

/// Two or more constants, combined from the left.
fn fold_all(kind: Binary, constants: &[&Literal]) -> Option<Literal> {
    let [a, b, rest @ ..] = constants else { return None };
    rest.iter().try_fold(fold(kind, a, b)?, |a, b| fold(kind, &a, b))
}

/// One, two or more operands, combined from the left.
fn nary(node: &Node, kind: Binary) -> Result<Lowered> {
    let unfit = || node.refuse("operands whose shapes do not fit");
    if node.inputs.len() == 1 {
        return Ok(Lowered::Given(0));
    }
    if node.constant(1).is_none()
        && let Some(shape) = aligned(node)?
    {
        let mut chain = Chain::of(node);
        let (first, second) = (chain.input(node, 0)?, chain.shaped(node, 1, shape)?);
        let y = chain.binary(kind, &first, &second);
        return chain.done(&y, first.shape);
    }
    if let Some(node) = as_aligned(node)? {
        return nary(&node, kind);
    }
    if let Some(constants) = node.constants() {
        return Ok(Lowered::Constants(vec![fold_all(kind, &constants).ok_or_else(unfit)?]));
    }
    let is_narrow = element::turn(node.element(0)).is_some();
    let is_wrapped = is_narrow && matches!(kind, Binary::Add | Binary::Sub | Binary::Mul);
    if (kind == Binary::Div || is_wrapped) && node.is_of_integers() {
        return integers(node, kind);
    }
    // A step needs a computed operand, so that constants before the first one are combined here.
    let leading = (0..node.inputs.len()).map_while(|index| node.constant(index));
    let leading: Vec<&Literal> = leading.map(|literal| &**literal).collect();
    if leading.len() > 1 {
        let rest = node.inputs[leading.len()..].iter().cloned();
        let first = fold_all(kind, &leading).ok_or_else(unfit)?;
        let inputs = [Some(Resolved::Constant(Rc::new(first)))].into_iter().chain(rest).collect();
        return nary(&Node { inputs, ..*node }, kind);
    }
    let ranks = (0..node.inputs.len()).map(|index| node.dims(index).map(|shape| shape.len()));
    if ranks.collect::<Result<Vec<_>>>()?.into_iter().any(|rank| rank > 4) {
        return view::broadcasting(node, &Op::Binary(kind));
    }
    let mut shape = node.shape(0)?.to_vec();
    let mut new_steps = Vec::new();
    for index in 1..node.inputs.len() {
        shape = broadcast_shape(&shape, node.shape(index)?).ok_or_else(unfit)?;
        let left = if index == 1 { node.operand(0)? } else { Input::Previous };
        new_steps.push(NewStep {
            op: Op::Binary(kind),
            inputs: vec![left, node.operand(index)?],
            shape: shape.clone(),
        });
    }
    Ok(Lowered::Chain(new_steps))
}

/// The sum of the operands over their number.
fn mean(node: &Node) -> Result<Lowered> {
    let share = 1.0 / node.inputs.len() as f32;
    let divide = |new_steps: &mut Vec<NewStep>| {
        let shape = new_steps.last().map(|new_step| new_step.shape.clone()).unwrap_or_default();
        let share = Input::Constant(Literal::float(vec![], vec![share]));
        new_steps.push(NewStep { op: Op::Binary(Binary::Mul), inputs: vec![Input::Previous, share], shape });
    };
    let mut lowered = nary(node, Binary::Add)?;
    match &mut lowered {
        Lowered::Constants(sums) => sums.iter_mut().for_each(|sum| *sum = sum.map(|v| v * share)),
        Lowered::Chain(new_steps) => divide(new_steps),
        // More than four axes.
        Lowered::Views(views) => views.iter_mut().for_each(|(new_steps, ..)| divide(new_steps)),
        // Of one operand, which is its own mean.
        _ => {}
    }
    Ok(lowered)
}

fn power(node: &Node) -> Result<Lowered> {
    let is_whole = |exponent: &Rc<Literal>| exponent.floats().iter().all(|v| *v >= 0. && v.fract() == 0.);
    if node.constants().is_none()
        && element::is_integer(node.element(0))
        && !(element::turn(node.element(0)).is_none() && node.constant(1).is_some_and(is_whole))
    {
        return Err(
            node.refuse("a power of computed integers; one of 32 or 64 bits by a constant from 0, 1, 2, … is accepted")
        );
    }
    match (node.constant(0), node.constant(1).and_then(|exponent| exponent.scalar())) {
        (None, Some(exponent)) => view::elementwise(node, Unary::Power(exponent)),
        _ => nary(node, Binary::Pow),
    }
}

fn two_constants<'a>(node: &'a Node) -> Result<(&'a Literal, &'a Literal)> {
    Ok((node.required_constant(0, "its first operand")?, node.required_constant(1, "its second operand")?))
}

/// What is left of a division, with the sign of the divisor (by `fmod`, and for constants of floats, of the dividend).
fn modulo(node: &Node) -> Result<Lowered> {
    if node.constants().is_some() {
        let is_c = node.int("fmod", 0) != 0;
        let floor =
            |x: i64, y: i64| x.checked_rem_euclid(y).map_or(0, |rest| if y < 0 && rest != 0 { rest + y } else { rest });
        return match is_c {
            true => on_constants(node, |x, y| x % y, |x, y| x.checked_rem(y).unwrap_or(0)),
            false => on_constants(node, |x, y| x - y * (x / y).floor(), floor),
        };
    }
    if node.int("fmod", 0) != 0 {
        return Err(node.refuse("fmod of a computed value"));
    }
    let mut chain = Chain::of(node);
    let (parts, shape) = together(node, &mut chain, 2)?;
    let ratio = chain.binary(Binary::Div, &parts[0], &parts[1]);
    let whole = chain.unary(Unary::Floor, &ratio);
    let whole = chain.binary(Binary::Mul, &whole, &parts[1]);
    let rest = chain.binary(Binary::Sub, &parts[0], &whole);
    chain.done(&rest, shape)
}

fn on_constants(node: &Node, float: fn(f32, f32) -> f32, int: impl Fn(i64, i64) -> i64) -> Result<Lowered> {
    let (a, b) = two_constants(node)?;
    let folded = Literal::combine(a, b, float, int).ok_or_else(|| node.refuse("operands whose shapes do not fit"))?;
    Ok(Lowered::Constants(vec![folded.wrapped()]))
}

/// 1 where it holds of two constants, else 0.
fn found(node: &Node, float: impl Fn(f32, f32) -> bool, int: impl Fn(i64, i64) -> bool) -> Result<Lowered> {
    let (a, b) = two_constants(node)?;
    let (float, int) = (|x, y| f32::from(float(x, y)), |x, y| i64::from(int(x, y)));
    let found = Literal::combine(a, b, float, int).ok_or_else(|| node.refuse("operands whose shapes do not fit"))?;
    Ok(Lowered::Constants(vec![found.cast(element::BOOL)]))
}

/// All inputs, which must be `count`, and the shape that they broadcast to.
fn together(node: &Node, chain: &mut Chain, count: usize) -> Result<(Vec<Part>, Vec<usize>)> {
    if node.inputs.len() != count {
        return Err(node.refuse(format!("{} inputs; {count} are accepted", node.inputs.len())));
    }
    let parts = (0..node.inputs.len()).map(|index| chain.input(node, index)).collect::<Result<Vec<_>>>()?;
    let shape = parts.iter().try_fold(vec![], |shape, part| broadcast_shape(&shape, &part.shape));
    let shape = shape.ok_or_else(|| node.refuse("operands whose shapes do not fit"))?;
    Ok((parts, shape))
}

/// 1 where it holds, else 0.
fn compare(node: &Node, holds: fn(f64, f64) -> bool) -> Result<Lowered> {
    if let Some(node) = as_aligned(node)? {
        return compare(&node, holds);
    }
    if node.constants().is_some() {
        // Of integers their order counts: floats don't tell all of them apart.
        return found(node, |x, y| holds(x.into(), y.into()), |x, y| holds(f64::from(x.cmp(&y) as i8), 0.));
    }
    let mut chain = Chain::of(node);
    let (parts, shape) = together(node, &mut chain, 2)?;
    // Of the two numbers by their difference: which of the three signs it may have.
    let [less, same, more] = [(0., 1.), (0., 0.), (1., 0.)].map(|(x, y)| holds(x, y));
    let (first, second) = if more { (0, 1) } else { (1, 0) };
    let difference = match (less, more) {
        (false, false) | (true, true) => {
            let difference = chain.binary(Binary::Sub, &parts[0], &parts[1]);
            chain.unary(Unary::Abs, &difference)
        }
        // `≥` is not `<`, so that what holds of equals is left to the step.
        _ if same => chain.binary(Binary::Sub, &parts[second], &parts[first]),
        _ => chain.binary(Binary::Sub, &parts[first], &parts[second]),
    };
    let is_inverted = same;
    let mut found = chain.unary(Unary::Step, &difference);
    if is_inverted {
        found = chain.binary(Binary::Sub, &Part::number(1.), &found);
    }
    chain.done(&found, shape)
}

/// Of numbers that are 0 or 1.
fn logic(node: &Node, holds: fn(bool, bool) -> bool) -> Result<Lowered> {
    if let Some(node) = as_aligned(node)? {
        return logic(&node, holds);
    }
    if node.constants().is_some() {
        return found(node, |x, y| holds(x != 0., y != 0.), |x, y| holds(x != 0, y != 0));
    }
    let mut chain = Chain::of(node);
    let (parts, shape) = together(node, &mut chain, 2)?;
    let found = match (holds(true, false), holds(true, true)) {
        (false, _) => chain.binary(Binary::Mul, &parts[0], &parts[1]),
        (true, true) => chain.binary(Binary::Max, &parts[0], &parts[1]),
        (true, false) => {
            let difference = chain.binary(Binary::Sub, &parts[0], &parts[1]);
            chain.unary(Unary::Abs, &difference)
        }
    };
    chain.done(&found, shape)
}

fn not(node: &Node) -> Result<Lowered> {
    if let Some(literal) = node.constant(0) {
        return Ok(Lowered::Constants(vec![literal.map(|v| f32::from(v == 0.)).cast(element::BOOL)]));
    }
    let mut chain = Chain::of(node);
    let (x, shape) = flat(node, &mut chain)?;
    let found = chain.binary(Binary::Sub, &Part::number(1.), &x);
    chain.done(&found, shape)
}

/// 1 where there is no number: nothing but that is not above -1 without its sign.
fn is_nan(node: &Node) -> Result<Lowered> {
    if let Some(literal) = node.constant(0) {
        return Ok(Lowered::Constants(vec![literal.map(|v| f32::from(v.is_nan())).cast(element::BOOL)]));
    }
    let mut chain = Chain::of(node);
    let (x, shape) = flat(node, &mut chain)?;
    let size = chain.unary(Unary::Abs, &x);
    let above = chain.with(Binary::Add, &size, 1.);
    let is_number = chain.unary(Unary::Step, &above);
    let found = chain.binary(Binary::Sub, &Part::number(1.), &is_number);
    chain.done(&found, shape)
}

/// The same where every input is known to be a number.
pub(super) fn no_nan(node: &Node) -> Result<Lowered> {
    let shape = node.dims(0)?;
    let count = count(&shape);
    if count > 1 << 20 {
        return is_nan(node);
    }
    Ok(Lowered::Constants(vec![Literal::integers(element::BOOL, shape, vec![0; count])]))
}

/// 1 where a number is beyond all others, on the sides that are asked for.
fn is_infinite(node: &Node) -> Result<Lowered> {
    let [above, below] = ["detect_positive", "detect_negative"].map(|side| node.int(side, 1) != 0);
    if let Some(literal) = node.constant(0) {
        let found = |v: f32| f32::from(v.is_infinite() && if v > 0. { above } else { below });
        return Ok(Lowered::Constants(vec![literal.map(found).cast(element::BOOL)]));
    }
    let mut chain = Chain::of(node);
    let (x, shape) = flat(node, &mut chain)?;
    let turned = match (above, below) {
        (true, true) => chain.unary(Unary::Abs, &x),
        (false, true) => chain.unary(Unary::Neg, &x),
        (true, false) => x,
        (false, false) => return Err(node.refuse("neither side; one or both are accepted")),
    };
    let beyond = chain.with(Binary::Sub, &turned, f32::MAX);
    let found = chain.unary(Unary::Step, &beyond);
    chain.done(&found, shape)
}

/// Of unsigned integers, which keep nothing of what is shifted out of them.
fn shift(node: &Node) -> Result<Lowered> {
    let by = |by: i64| u32::try_from(by).unwrap_or(u32::MAX);
    let shift = match node.text("direction").as_deref() {
        Some("LEFT") => |x: i64, by: u32| x.checked_shl(by).unwrap_or(0),
        Some("RIGHT") => |x: i64, by: u32| (x as u64).checked_shr(by).unwrap_or(0) as i64,
        other => {
            return Err(node.refuse(format!("direction {}; LEFT and RIGHT are accepted", other.unwrap_or("missing"))));
        }
    };
    on_constants(node, |x, _| x, |x, y| shift(x, by(y)))
}

/// The first choice where the condition holds, elsewhere the second.
fn choose(node: &Node) -> Result<Lowered> {
    if node.constants().is_none() {
        return match settled(node)? {
            Some(index) => Ok(Lowered::Given(index)),
            None => choose_computed(node),
        };
    }
    let condition = node.required_constant(0, "its condition")?;
    let (yes, no) = (node.required_constant(1, "its first choice")?, node.required_constant(2, "its second choice")?);
    let shape = broadcast_shape(&condition.shape, &yes.shape).and_then(|shape| broadcast_shape(&shape, &no.shape));
    let largest = condition.len().max(yes.len()).max(no.len());
    let shape = shape.filter(|shape| grown(shape, largest).is_some());
    let shape = shape.ok_or_else(|| node.refuse("operands whose shapes do not fit"))?;
    Ok(Lowered::Constants(vec![Literal::chosen(condition, yes, no, &shape)]))
}

/// Which choice is taken everywhere, where that is known and the choice has the result's shape.
fn settled(node: &Node) -> Result<Option<usize>> {
    let Some(condition) = node.constant(0) else { return Ok(None) };
    let holds = condition.floats();
    let index = match holds.first() {
        Some(&first) if holds.iter().all(|&held| (held != 0.) == (first != 0.)) => {
            if first != 0. {
                1
            } else {
                2
            }
        }
        _ => return Ok(None),
    };
    let dims = node.dims(index)?;
    let other = broadcast_shape(&condition.shape, &node.dims(3 - index)?);
    Ok((other.and_then(|other| broadcast_shape(&other, &dims)) == Some(dims)).then_some(index))
}

/// The same of computed values: each choice is kept where it is taken, and both are added.
fn choose_computed(node: &Node) -> Result<Lowered> {
    let mut chain = Chain::of(node);
    if (0..node.inputs.len()).any(|index| node.dims(index).is_ok_and(|shape| shape.len() > 4)) {
        // Of the same shape, or single numbers.
        let shape = (0..3).map(|index| node.dims(index)).try_fold(vec![], |all, shape| {
            broadcast_shape(&all, &shape?).ok_or_else(|| node.refuse("operands whose shapes do not fit"))
        })?;
        let mut parts = vec![];
        for index in 0..3 {
            let own = node.dims(index)?;
            parts.push(match node.constant(index) {
                Some(literal) if literal.len() == 1 => Part::number(literal.floats()[0]),
                Some(literal) => Part::constant(literal.expanded(&shape).reshaped(folded(&shape))),
                None if own == shape => chain.shaped(node, index, folded(&shape))?,
                None => return Err(node.refuse(format!("{own:?} of {shape:?}; operands of one shape are accepted"))),
            });
        }
        let found = chosen(&mut chain, &parts);
        return chain.done(&found, shape);
    }
    let (parts, shape) = together(node, &mut chain, 3)?;
    let found = chosen(&mut chain, &parts);
    chain.done(&found, shape)
}

fn chosen(chain: &mut Chain, parts: &[Part]) -> Part {
    let (yes, no) = (&parts[1], &parts[2]);
    let kept = chain.binary(Binary::Keep, &parts[0], yes);
    let other = chain.binary(Binary::Sub, &Part::number(1.), &parts[0]);
    let rest = chain.binary(Binary::Keep, &other, no);
    chain.binary(Binary::Add, &kept, &rest)
}

fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// Sums from the first number of an axis to each: a product with a triangle of ones.
fn cumulated(node: &Node) -> Result<Lowered> {
    let shape = node.dims(0)?;
    let axis = match node.int_list(1, "the axis")?.as_deref() {
        Some(&[axis]) => node.axis(axis, shape.len())?,
        _ => return Err(node.refuse("its axis is no single number")),
    };
    let (is_exclusive, is_reverse) = (node.int("exclusive", 0) != 0, node.int("reverse", 0) != 0);
    let side = shape[axis];
    let counts = |from: usize, to: usize| {
        let (from, to) = if is_reverse { (to, from) } else { (from, to) };
        if is_exclusive { from < to } else { from <= to }
    };
    let (outer, inner): (usize, usize) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
    grown(&[side, side], 0).ok_or_else(|| node.refuse(format!("sums along {side} numbers")))?;
    if let Some(literal) = node.constant(0) {
        let work = (literal.len() as u64).saturating_mul(side as u64);
        node.budget.fold_work(work).map_err(|reason| node.refuse(reason))?;
        let sum = |add: &mut dyn FnMut(usize, usize)| {
            for i in 0..outer * side * inner {
                let (row, to) = (i / (side * inner), i / inner % side);
                (0..side)
                    .filter(|&from| counts(from, to))
                    .for_each(|from| add(i, (row * side + from) * inner + i % inner));
            }
        };
        return Ok(Lowered::Constants(vec![match &literal.data {
            Data::Int(values) => {
                let mut sums = vec![0i64; values.len()];
                sum(&mut |i, from| sums[i] = sums[i].wrapping_add(values[from]));
                Literal::integers(literal.element, shape, sums)
            }
            Data::Float(values) => {
                let mut sums = vec![0f32; values.len()];
                sum(&mut |i, from| sums[i] += values[from]);
                Literal::float(shape, sums)
            }
        }]));
    }
    let mut chain = Chain::of(node);
    let (first, rest) = shape[..axis].split_at(axis.min(1));
    let lead = [first.iter().product(), rest.iter().product()];
    let x = chain.shaped(node, 0, vec![lead[0], lead[1], side, inner])?;
    let turned = chain.permute(&x, &[0, 1, 3, 2]);
    let ones = (0..side * side).map(|i| f32::from(counts(i / side, i % side))).collect();
    let sums = chain.product(&turned, &Part::constant(Literal::float(vec![side, side], ones)));
    let sums = chain.permute(&sums, &[0, 1, 3, 2]);
    chain.done(&sums, shape)
}
