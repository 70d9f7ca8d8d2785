//! What stands between the last activations and the scores, as far as CAM asks for it.

use super::layers::LayerForm;
use super::{Binary, Op, Plan, Reduction, Source, ValueId};

/// What turns the pooled activations into scores: CAM's requirement (Zhou et al. 2016).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Head {
    /// Pooling, then a linear layer: the scores' weights are the rows (or columns, if `columns`) of this constant.
    Linear { constant: usize, columns: bool },
    /// A convolution to one channel a class, then pooling (SqueezeNet): class `c`'s map is channel `c`.
    Channels,
}

/// A pooling head and the layer whose activations it pools.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PoolingHead {
    pub layer: ValueId,
    pub head: Head,
}

/// Looks for pooling and a linear layer (or a convolution to classes and pooling) before the scores.
pub(crate) fn pooling_head(plan: &Plan) -> Result<PoolingHead, String> {
    let classes: usize = plan.values[plan.output.value.0].shape.iter().product();
    let mut linear: Option<Head> = None;
    let is_map = |value: ValueId| matches!(LayerForm::of(&plan.values[value.0]), Some((LayerForm::Map, _)));
    let mut at = plan.output.value;
    // A reshape between may have made more rows of fewer numbers each.
    let fits = |head: &Head, channels: usize| match head {
        Head::Linear { constant, .. } => {
            plan.constants[*constant].shape.iter().product::<usize>() == channels * classes
        }
        Head::Channels => true,
    };
    loop {
        let Some(step) = plan.producer(at) else {
            return Err("this network has none".into());
        };
        let between = || {
            let name = if step.node.is_empty() { &plan.values[step.output.0].name } else { &step.node };
            Err(format!("`{name}` ({}) stands in the way; Grad-CAM serves every network", step.operator))
        };
        let source = |index: usize| step.inputs.get(index).copied();
        let Some(Source::Value(input)) = source(0) else { return between() };
        let input_shape = &plan.values[input.0].shape;
        let is_plane = input_shape.len() == 4 && input_shape[2] * input_shape[3] > 1;
        // Pooled with channels last, but computed with channels first: TensorFlow's networks, for a fixed batch.
        let turned = plan.producer(input).filter(|step| step.op == Op::Permute([0, 2, 3, 1]));
        if let (Op::Reduce { kind: Reduction::Mean, axes }, Some(turned), Some(head)) = (&step.op, turned, &linear)
            && axes.len() == 2
            && axes.contains(&1)
            && axes.contains(&2)
            && let Some(Source::Value(layer)) = turned.inputs.first().copied()
            && is_map(layer)
            && LayerForm::of(&plan.values[layer.0]).is_some_and(|(_, [channels, ..])| fits(head, channels))
        {
            return Ok(PoolingHead { layer, head: head.clone() });
        }
        let form = LayerForm::of(&plan.values[input.0]);
        let pools = match &step.op {
            Op::Reduce { kind: Reduction::Mean, axes } => match form {
                Some((LayerForm::Plane, _)) => axes.len() == 2 && axes.contains(&1) && axes.contains(&2),
                // All tokens, if all are places.
                Some((LayerForm::Tokens { turned, .. }, [_, height, width])) if input_shape.len() == 3 => {
                    let along = if turned { 2 } else { 1 };
                    axes[..] == [along + 1] && input_shape[along] == height * width
                }
                _ => input_shape.len() == 4 && axes.len() == 2 && axes.contains(&2) && axes.contains(&3),
            },
            Op::AveragePool { kernel, padding, .. } => {
                input_shape[2..] == kernel[..] && *padding == [(0, 0); 2] && step.inputs.len() == 1
            }
            _ => false,
        };
        if pools {
            let Some((_, [channels, _, _])) = form else { return between() };
            return match linear {
                Some(head) if !fits(&head, channels) => between(),
                Some(head) => Ok(PoolingHead { layer: input, head }),
                None if channels == classes => Ok(PoolingHead { layer: input, head: Head::Channels }),
                None => between(),
            };
        }
        match (&step.op, source(1)) {
            (Op::Reshape, _) if !is_plane => {}
            (Op::Quantize { .. } | Op::Dequantize, _) if !is_plane => {}
            (Op::Binary(Binary::Add), Some(Source::Constant(_))) if !is_plane => {}
            (Op::Linear { transposed }, Some(Source::Constant(constant))) if linear.is_none() && !is_plane => {
                linear = Some(Head::Linear { constant, columns: !transposed });
            }
            (Op::Convolution { groups: 1, .. }, Some(Source::Constant(constant)))
                if linear.is_none() && !is_plane && plan.constants[constant].shape[2..] == [1, 1] =>
            {
                linear = Some(Head::Linear { constant, columns: false });
            }
            _ => return between(),
        }
        at = input;
    }
}
