//! Which values are layers: what each axis of a value counts, and how a value becomes maps `[N, K, h, w]`.

use super::{Constant, Op, Plan, Source, Step, Value, ValueId, rank4};
use crate::tensor::Tensor;

/// What one part of an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// Rows of the image, so many finer ones apart.
    Rows(usize),
    /// Columns of the image, so many finer ones apart.
    Columns(usize),
    /// The places of the image row by row, behind so many tokens that are no places.
    Tokens { prefix: usize, height: usize, width: usize },
    /// Channels, heads, images.
    Other,
}

/// A part of an axis, and how many numbers it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    size: usize,
    of: Of,
}

/// What the axes of a value count: of each its parts, the one that changes slowest first; parts of one number are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout(Vec<Vec<Part>>);

/// How the value of a layer becomes maps `[N, K, h, w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayerForm {
    /// `[N, K, h, w]`. Crops of one image that are stacked as images count as channels.
    Map,
    /// `[N, h, w, K]`, as inside ConvNeXt's and Swin's blocks.
    Plane,
    /// `[N, n, K]`, or `[N, K, n]` if `turned`: h·w places row by row behind tokens that are none (class, distillation,
    /// registers).
    Tokens { prefix: usize, turned: bool },
}

impl Part {
    fn other(size: usize) -> Part {
        Part { size, of: Of::Other }
    }

    fn is_place(&self) -> bool {
        self.of != Of::Other
    }

    /// The slower part of `size` and the faster rest; none if places can't be split like that.
    fn split(self, size: usize) -> Option<[Part; 2]> {
        let rest = self.size / size;
        let of = match self.of {
            _ if !self.size.is_multiple_of(size) => return None,
            Of::Rows(apart) => Of::Rows(apart * rest),
            Of::Columns(apart) => Of::Columns(apart * rest),
            Of::Tokens { .. } => return None,
            Of::Other => Of::Other,
        };
        Some([Part { size, of }, Part { size: rest, of: self.of }])
    }

    /// This and the next faster part as one, if they are neighbours.
    fn joined(self, next: Part) -> Option<Part> {
        let size = self.size * next.size;
        match (self.of, next.of) {
            (Of::Other, Of::Other) => Some(Part::other(size)),
            (Of::Rows(slow), Of::Rows(fast)) if slow == fast * next.size => Some(Part { size, of: next.of }),
            (Of::Columns(slow), Of::Columns(fast)) if slow == fast * next.size => Some(Part { size, of: next.of }),
            _ => None,
        }
    }
}

/// One part of that many, none of one.
fn axis(size: usize, of: Of) -> Vec<Part> {
    if size == 1 { vec![] } else { vec![Part { size, of }] }
}

/// The parts under another shape; places that are torn apart are none any more.
fn regrouped(parts: impl Iterator<Item = Part>, shape: &[usize]) -> Option<Vec<Vec<Part>>> {
    let mut left: Vec<Part> = parts.collect();
    left.reverse();
    let mut axes = Vec::with_capacity(shape.len());
    for &size in shape {
        let (mut own, mut open) = (Vec::<Part>::new(), size);
        while open > 1 {
            let mut part = left.pop()?;
            if part.size > open {
                let [slow, fast] = part.split(open)?;
                left.push(fast);
                part = slow;
            }
            if !open.is_multiple_of(part.size) {
                return None;
            }
            open /= part.size;
            match own.last().and_then(|last| last.joined(part)) {
                Some(joined) => *own.last_mut().expect("it was joined with") = joined,
                None => own.push(part),
            }
        }
        axes.push(own);
    }
    Some(axes)
}

impl Layout {
    /// `[N, K, h, w]`.
    pub fn channels_first(shape: &[usize]) -> Layout {
        let of = [Of::Other, Of::Other, Of::Rows(1), Of::Columns(1)];
        Layout(shape.iter().zip(of).map(|(&size, of)| axis(size, of)).collect())
    }

    /// `[N, h, w, K]`.
    pub fn channels_last(shape: &[usize]) -> Layout {
        let of = [Of::Other, Of::Rows(1), Of::Columns(1), Of::Other];
        Layout(shape.iter().zip(of).map(|(&size, of)| axis(size, of)).collect())
    }

    /// Nothing is known but the shape.
    pub fn unknown(shape: &[usize]) -> Layout {
        Layout(shape.iter().map(|&size| axis(size, Of::Other)).collect())
    }

    /// What the device's axis number `axis` of a value counts.
    fn device(&self, axis: usize) -> &[Part] {
        (axis + self.0.len()).checked_sub(4).and_then(|axis| self.0.get(axis)).map_or(&[], Vec::as_slice)
    }

    /// The same axes in the device's four.
    fn four(&self) -> Vec<Vec<Part>> {
        (0..4).map(|axis| self.device(axis).to_vec()).collect()
    }
}

impl LayerForm {
    /// The form of a value and its shape as maps, `[K, h, w]`; none if the value keeps no places of the image apart.
    pub fn of(value: &Value) -> Option<(LayerForm, [usize; 3])> {
        let axes = &value.layout.0;
        // Of parts that are apart by less than others elsewhere the whole is no map of the image.
        let widest = |is: &dyn Fn(&Part) -> Option<usize>| {
            let apart = || axes.iter().flatten().filter_map(is);
            let most = apart().max()?;
            (apart().filter(|&apart| apart == most).count() == 1).then_some(most)
        };
        let rows = |part: &Part| if let Of::Rows(apart) = part.of { Some(apart) } else { None };
        let columns = |part: &Part| if let Of::Columns(apart) = part.of { Some(apart) } else { None };
        let (most_rows, most_columns) = (widest(&rows), widest(&columns));
        let is_rows = |axis: &[Part]| {
            matches!(axis, [part] if rows(part).is_some() && rows(part) == most_rows)
                || axis.is_empty() && most_rows.is_none()
        };
        let is_columns = |axis: &[Part]| {
            matches!(axis, [part] if columns(part).is_some() && columns(part) == most_columns)
                || axis.is_empty() && most_columns.is_none()
        };
        if axes.iter().flatten().all(|part| !part.is_place()) {
            return None;
        }
        if let (&[crops, a, b, c], [_, x, y, z]) = (value.shape.as_slice(), axes.as_slice()) {
            if is_rows(y) && is_columns(z) {
                return Some((LayerForm::Map, [crops * a, b, c]));
            }
            if crops == 1 && is_rows(x) && is_columns(y) {
                return Some((LayerForm::Plane, [c, a, b]));
            }
        }
        if value.shape.first() != Some(&1) || !matches!(value.shape.len(), 3 | 4) {
            return None;
        }
        // One axis of places, and one of channels.
        let filled: Vec<usize> = (1..axes.len()).filter(|&axis| value.shape[axis] != 1).collect();
        let at = *filled.iter().find(|&&axis| axes[axis].iter().any(Part::is_place))?;
        let others: Vec<usize> = filled.iter().copied().filter(|&axis| axis != at).collect();
        if others.len() > 1 || (others.is_empty() && at + 1 == axes.len() && axes.len() == 4) {
            return None;
        }
        let (prefix, height, width) = match axes[at].as_slice() {
            &[Part { of: Of::Tokens { prefix, height, width }, .. }] => (prefix, height, width),
            [r, c] if is_rows(&[*r]) && is_columns(&[*c]) => (0, r.size, c.size),
            // Of one row, or one column.
            [one] if is_rows(&[*one]) && most_columns.is_none() => (0, one.size, 1),
            [one] if is_columns(&[*one]) && most_rows.is_none() => (0, 1, one.size),
            _ => return None,
        };
        let channels = others.first().map_or(1, |&axis| value.shape[axis]);
        let turned = others.first().is_some_and(|&axis| axis < at);
        Some((LayerForm::Tokens { prefix, turned }, [channels, height, width]))
    }

    /// A value for so many images, as the device has it, as maps `[N, K, h, w]`.
    pub fn maps(self, value: Tensor<4>, images: usize, [channels, height, width]: [usize; 3]) -> Tensor<4> {
        let shape = [images, channels, height, width];
        match self {
            LayerForm::Map => value.reshape(shape),
            LayerForm::Plane => value.permute([0, 3, 1, 2]),
            LayerForm::Tokens { prefix, turned } => {
                let tokens = value.dims().iter().product::<usize>() / images / channels;
                let rows = match turned {
                    true => value.reshape([images, 1, channels, tokens]),
                    false => value.reshape([images, 1, tokens, channels]).swap_dims(2, 3),
                };
                rows.narrow(3, prefix, height * width).reshape(shape)
            }
        }
    }

    /// The other way: maps `[N, K, h, w]` as the numbers of the value for so many images, whose tokens that are no places are
    /// those of `like`, the value for one image.
    pub fn value(self, maps: Tensor<4>, like: &Tensor<4>) -> Tensor<4> {
        let [images, channels, height, width] = maps.dims();
        match self {
            LayerForm::Map => maps,
            LayerForm::Plane => maps.permute([0, 2, 3, 1]),
            LayerForm::Tokens { prefix, turned } => {
                let given = self.wide(like.clone(), channels);
                let along = if turned { 3 } else { 2 };
                let tokens = given.dims()[along];
                let places = maps.reshape([images, 1, channels, height * width]);
                let mut parts = vec![if turned { places } else { places.swap_dims(2, 3) }];
                let behind = prefix + height * width;
                let mut others = |start: usize, length: usize, at: usize| {
                    if length > 0 {
                        parts.insert(at, Tensor::cat(vec![given.clone().narrow(along, start, length); images], 0));
                    }
                };
                others(behind, tokens - behind, 1);
                others(0, prefix, 0);
                Tensor::cat(parts, along)
            }
        }
    }

    /// A value with a scale and a shift for each channel, `[N, K, 1, 1]` each, as the numbers of the value for N images.
    /// Tokens that are no places are changed like the others.
    pub fn changed(self, value: Tensor<4>, scale: Tensor<4>, shift: Tensor<4>) -> Tensor<4> {
        let [images, channels, _, _] = scale.dims();
        let fit = |factors: Tensor<4>| match self {
            LayerForm::Map => factors,
            LayerForm::Tokens { turned: true, .. } => factors.reshape([images, 1, channels, 1]),
            LayerForm::Plane | LayerForm::Tokens { .. } => factors.reshape([images, 1, 1, channels]),
        };
        self.wide(value, channels).mul(fit(scale)).add(fit(shift))
    }

    /// The value of one image with the batch as the first of four axes.
    fn wide(self, value: Tensor<4>, channels: usize) -> Tensor<4> {
        let count = value.dims().iter().product::<usize>();
        match self {
            LayerForm::Map => {
                let [_, _, height, width] = value.dims();
                value.reshape([1, channels, height, width])
            }
            LayerForm::Plane => value,
            LayerForm::Tokens { turned: true, .. } => value.reshape([1, 1, channels, count / channels]),
            LayerForm::Tokens { .. } => value.reshape([1, 1, count / channels, channels]),
        }
    }

    /// Whether a number of the value, counted row by row, belongs to a place.
    pub fn is_of_place(self, number: usize, count: usize, [channels, height, width]: [usize; 3]) -> bool {
        let LayerForm::Tokens { prefix, turned } = self else { return true };
        let token = if turned { number % (count / channels) } else { number / channels };
        (prefix..prefix + height * width).contains(&token)
    }
}

impl Plan {
    /// The form of a layer and its shape as maps, `[K, h, w]`. Of any other value the numbers count as channels.
    pub fn form(&self, layer: ValueId) -> (LayerForm, [usize; 3]) {
        let value = &self.values[layer.0];
        LayerForm::of(value).unwrap_or((LayerForm::Map, [value.shape.iter().product(), 1, 1]))
    }

    /// The spatial layers, in the order of the run: the step that computes each, the form of its value and its shape
    /// `[K, h, w]`. Values without a name in the file are not among them.
    pub fn layers(&self) -> impl Iterator<Item = (&Step, LayerForm, [usize; 3])> {
        self.steps.iter().filter_map(|step| {
            let value = &self.values[step.output.0];
            let (form, shape) = LayerForm::of(value).filter(|(_, [_, height, width])| height * width > 1)?;
            (!value.name.is_empty()).then_some((step, form, shape))
        })
    }

    /// Whether a step ends something, so that its result is one of those that people look at in a transformer: a sum of two
    /// branches or a normalisation, not a matrix product between.
    pub fn is_junction(&self, step: &Step) -> bool {
        match step.op {
            Op::Normalize { .. } | Op::Convolution { .. } | Op::Affine => true,
            Op::Binary(super::Binary::Add) => step.inputs.iter().all(|source| source.value().is_some()),
            _ => false,
        }
    }
}

/// What the axes of the result `shape` of a step count.
pub(crate) fn layout_after(
    values: &[Value],
    constants: &[Constant],
    op: &Op,
    inputs: &[Source],
    shape: &[usize],
) -> Layout {
    let operands: Vec<(Vec<Vec<Part>>, [usize; 4])> = inputs
        .iter()
        .map(|source| match source {
            Source::Value(id) => (values[id.0].layout.four(), rank4(&values[id.0].shape)),
            Source::Constant(constant) => {
                let shape = constants[*constant].shape;
                (Layout::unknown(&shape).0, shape)
            }
        })
        .collect();
    let Some((first, own)) = operands.first() else { return Layout::unknown(shape) };
    let out = rank4(shape);
    let rank = shape.len();
    let plain = |axis: usize| self::axis(out[axis], Of::Other);
    // An axis of rows or columns alone stays one whatever its length; any other is known only at the same length.
    let kept = |axis: usize| match first[axis].as_slice() {
        parts if own[axis] == out[axis] => parts.to_vec(),
        &[Part { of: of @ (Of::Rows(_) | Of::Columns(_)), .. }] => self::axis(out[axis], of),
        _ => plain(axis),
    };
    let each = |of: &dyn Fn(usize) -> Vec<Part>| (0..4).map(of).collect::<Vec<_>>();
    let mut axes = match op {
        Op::Convolution { .. }
        | Op::MaxPool { .. }
        | Op::AveragePool { .. }
        | Op::LocalResponse { .. }
        | Op::Resample => {
            let has = |axis: usize, other: fn(&Of) -> bool| {
                first[axis].iter().any(|part| other(&part.of) || matches!(part.of, Of::Tokens { .. }))
            };
            // Such as a convolution over the weights of attention.
            let is_torn = has(2, |of| matches!(of, Of::Columns(_))) || has(3, |of| matches!(of, Of::Rows(_)));
            let is_clean = first[2].iter().chain(&first[3]).all(Part::is_place) && first[2].len() + first[3].len() > 0;
            match op {
                _ if rank != 4 => each(&plain),
                _ if !is_clean && !is_torn && own[0] == 1 && own[2] > 1 && own[3] > 1 => {
                    Layout::channels_first(shape).0
                }
                _ => {
                    let mut axes = each(&kept);
                    axes[1] = plain(1);
                    axes
                }
            }
        }
        Op::Permute(from) => from.iter().map(|&from| first[from].clone()).collect(),
        Op::Reshape => regrouped(first.iter().flatten().copied(), &out).unwrap_or_else(|| each(&plain)),
        Op::Rearrange { dims, permutation } => regrouped(first.iter().flatten().copied(), dims)
            .and_then(|axes| regrouped(permutation.iter().flat_map(|&from| axes[from].clone()), &out))
            .unwrap_or_else(|| each(&plain)),
        Op::Linear { transposed } => {
            // Rows of the first operand, columns of the second.
            let mut axes = each(&|axis| if own[axis] == out[axis] { first[axis].clone() } else { plain(axis) });
            axes[3] =
                operands.get(1).map_or_else(Vec::new, |(second, _)| second[if *transposed { 2 } else { 3 }].clone());
            axes
        }
        Op::Reduce { .. } => {
            let reduced = first.iter().zip(own).enumerate();
            let Op::Reduce { axes, .. } = op else { unreachable!("it is one") };
            let left = reduced.filter(|(axis, _)| !axes.contains(axis)).flat_map(|(_, (parts, _))| parts.clone());
            regrouped(left, &out).unwrap_or_else(|| each(&plain))
        }
        Op::Concat { axis } => {
            let mut axes = each(&|axis| merged(&operands, axis, out[axis]).unwrap_or_else(|| plain(axis)));
            axes[*axis] = joined(&operands, *axis, out[*axis]);
            axes
        }
        Op::Slice { axis, start, end, step } => {
            let mut axes = each(&kept);
            if own[*axis] != out[*axis] {
                axes[*axis] = sliced(&first[*axis], *start, *end, *step, out[*axis]);
            }
            axes
        }
        // Pixels in other places are pixels.
        Op::Pick { places, .. } if rank != 4 || own[0] != out[0] || ranks(inputs, values) != 4 => {
            let parts: Vec<Part> = first.iter().flatten().copied().collect();
            stepped(&parts, places).and_then(|parts| regrouped(parts.into_iter(), &out)).unwrap_or_else(|| each(&plain))
        }
        Op::Pick { .. } | Op::Select { .. } | Op::Pad { .. } | Op::PadEdge { .. } => each(&kept),
        _ => each(&|axis| merged(&operands, axis, out[axis]).unwrap_or_else(|| plain(axis))),
    };
    Layout(axes.split_off(4 - rank))
}

/// The parts, the slowest first, of numbers picked from places that go up by steps, as those of patches do.
fn stepped(parts: &[Part], places: &[u32]) -> Option<Vec<Part>> {
    let mut starts = places.to_vec();
    let mut found = vec![];
    while starts.len() > 1 {
        let step = starts[1].checked_sub(starts[0])?;
        let is_next = |pair: &[u32]| pair[0].checked_add(step) == Some(pair[1]);
        let size = 1 + starts.windows(2).take_while(|pair| is_next(pair)).count();
        if !starts.len().is_multiple_of(size) || !starts.chunks(size).all(|row| row.windows(2).all(is_next)) {
            return None;
        }
        starts = starts.into_iter().step_by(size).collect();
        walked(parts, size, step as usize, &mut found)?;
    }
    found.reverse();
    Some(found)
}

/// Adds what so many steps of that many numbers count, the fastest first.
fn walked(parts: &[Part], mut size: usize, mut step: usize, found: &mut Vec<Part>) -> Option<()> {
    let mut stride = 1;
    for part in parts.iter().rev() {
        let next = stride * part.size;
        if size > 1 && step.is_multiple_of(stride) && (1..part.size).contains(&(step / stride)) {
            let apart = step / stride;
            let here = if size * apart <= part.size { size } else { part.size / apart };
            if !size.is_multiple_of(here) || (here < size && !part.size.is_multiple_of(apart)) {
                return None;
            }
            let of = match part.of {
                Of::Rows(own) => Of::Rows(own * apart),
                Of::Columns(own) => Of::Columns(own * apart),
                Of::Tokens { .. } if apart == 1 && here == part.size => part.of,
                _ => Of::Other,
            };
            found.push(Part { size: here, of });
            (size, step) = (size / here, next);
        }
        stride = next;
    }
    if size > 1 {
        found.push(Part::other(size));
    }
    Some(())
}

/// How many axes the first operand has.
fn ranks(inputs: &[Source], values: &[Value]) -> usize {
    inputs.first().and_then(Source::value).map_or(0, |id| values[id.0].shape.len())
}

/// What an axis of a result counts that is as long as that of an operand.
fn merged(operands: &[(Vec<Vec<Part>>, [usize; 4])], axis: usize, size: usize) -> Option<Vec<Part>> {
    let fitting = || operands.iter().filter(|(_, shape)| shape[axis] == size).map(|(axes, _)| &axes[axis]);
    fitting().find(|parts| parts.iter().any(Part::is_place)).or_else(|| fitting().next()).cloned()
}

/// What an axis counts along which operands stand one behind the other.
fn joined(operands: &[(Vec<Vec<Part>>, [usize; 4])], axis: usize, size: usize) -> Vec<Part> {
    let mut start = 0;
    let mut found = None;
    for (axes, shape) in operands {
        let tokens = match axes[axis].as_slice() {
            &[Part { of: Of::Tokens { prefix, height, width }, .. }] => Some((prefix, height, width)),
            // Rows and columns whatever they are apart: behind other tokens they can't be told from others any more.
            &[Part { of: Of::Rows(_), size: height }, Part { of: Of::Columns(_), size: width }] => {
                Some((0, height, width))
            }
            parts if parts.iter().any(Part::is_place) => return self::axis(size, Of::Other),
            _ => None,
        };
        match tokens {
            Some(_) if found.is_some() => return self::axis(size, Of::Other),
            Some((prefix, height, width)) => found = Some(Of::Tokens { prefix: start + prefix, height, width }),
            None => {}
        }
        start += shape[axis];
    }
    self::axis(size, found.unwrap_or(Of::Other))
}

/// What is left of an axis.
fn sliced(parts: &[Part], start: usize, end: usize, step: usize, size: usize) -> Vec<Part> {
    match *parts {
        [Part { of: Of::Tokens { prefix, height, width }, .. }] => {
            let places = height * width;
            match prefix.checked_sub(start) {
                Some(0) if step == 1 && end == prefix + places => {
                    [axis(height, Of::Rows(1)), axis(width, Of::Columns(1))].concat()
                }
                Some(prefix) if step == 1 && end >= start + prefix + places => {
                    axis(size, Of::Tokens { prefix, height, width })
                }
                _ => axis(size, Of::Other),
            }
        }
        [Part { of: Of::Rows(apart), .. }] => axis(size, Of::Rows(apart * step)),
        [Part { of: Of::Columns(apart), .. }] => axis(size, Of::Columns(apart * step)),
        _ => axis(size, Of::Other),
    }
}

/// Whether `op` treats each image along the first axis by itself.
pub(crate) fn keeps_images_apart(op: &Op, operands: &[&Value], shape: &[usize]) -> bool {
    let rank = operands.first().map_or(0, |value| value.shape.len());
    if rank == 0
        || shape.is_empty()
        || shape[0] != 1
        || operands.iter().any(|v| v.shape.len() != rank || v.shape[0] != 1)
    {
        return false;
    }
    let batch = 4 - rank;
    match op {
        Op::Permute(axes) => axes[batch] == batch,
        Op::Rearrange { dims, permutation } => dims[0] == 1 && permutation[0] == 0,
        Op::Concat { axis } | Op::Slice { axis, .. } | Op::Select { axis, .. } => *axis != batch,
        Op::Reduce { axes, .. } | Op::Normalize { axes, .. } => !axes.contains(&batch),
        Op::Softmax { axis, .. } => *axis != batch,
        Op::Pad { padding, .. } | Op::PadEdge { padding, .. } => padding[batch] == (0, 0),
        Op::Linear { .. } => rank >= 3 || operands.len() == 1,
        // A kernel that the image decides is its own.
        Op::Convolution { .. } => operands.len() == 1,
        _ => true,
    }
}
