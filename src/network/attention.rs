//! What a transformer's attention says, taken from the graph as any exporter writes it: a softmax over all tokens for each of
//! them is one, whatever its node is called.

use std::collections::HashMap;

use super::{Network, reach};
use crate::engine::{Rectifiers, Stretch, WayBack};
use crate::plan::{Binary, LayerForm, Op, Source, ValueId};
use crate::tensor::{Tensor, TensorData};
use crate::{Error, ErrorKind, Result};

/// One block of a transformer.
struct Block {
    /// The weights of its attention, `[1, heads, n, n]`.
    weights: ValueId,
    /// What it hands on, `[1, n, K]`.
    tokens: ValueId,
}

/// The tokens of a transformer: `count` in all, of `width` numbers each, places row by row behind `prefix` others.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Tokens {
    pub count: usize,
    pub width: usize,
    pub prefix: usize,
    pub size: [usize; 2],
}

/// The blocks of a network in whose attention every token can attend to every other.
pub(crate) struct Blocks {
    blocks: Vec<Block>,
    tokens: Tokens,
}

impl Blocks {
    /// What each place of the image has of something that each token has: `[h, w]`.
    pub fn places(&self, of_tokens: &[f64]) -> ([usize; 2], Vec<f32>) {
        let [height, width] = self.tokens.size;
        let places = of_tokens[self.tokens.prefix..][..height * width].iter();
        ([height, width], places.map(|&value| value as f32).collect())
    }
}

impl Network {
    /// The tokens that a value holds, if it holds tokens row by row.
    fn tokens_of(&self, value: ValueId) -> Option<Tokens> {
        let stored = &self.plan.values[value.0];
        match (LayerForm::of(stored)?, stored.shape.as_slice()) {
            ((LayerForm::Tokens { prefix, turned: false }, [width, height, columns]), &[1, count, _]) => {
                Some(Tokens { count, width, prefix, size: [height, columns] })
            }
            _ => None,
        }
    }

    /// # Errors
    /// `UnsupportedError` if there are none.
    pub(crate) fn blocks(&self) -> Result<Blocks> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut open = None;
        for step in &self.plan.steps {
            let shape = &self.plan.values[step.output.0].shape;
            match (&step.op, shape.as_slice()) {
                (Op::Softmax { axis: 3, log: false, .. }, &[.., queries, keys]) if queries == keys => {
                    open = Some((step.output, keys));
                }
                // The last sum before the next attention is the result of the block.
                (Op::Binary(Binary::Add), _) if step.inputs.iter().all(|source| source.value().is_some()) => {
                    let Some((weights, _)) =
                        open.filter(|&(_, keys)| self.tokens_of(step.output).is_some_and(|own| own.count == keys))
                    else {
                        continue;
                    };
                    match blocks.last_mut().filter(|block| block.weights == weights) {
                        Some(block) => block.tokens = step.output,
                        None => blocks.push(Block { weights, tokens: step.output }),
                    }
                }
                _ => {}
            }
        }
        let tokens = blocks.last().and_then(|block| self.tokens_of(block.tokens)).ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                "this network has no attention in which every token can attend to every other, as vision transformers have; \
                 Grad-CAM serves every network",
            )
        })?;
        blocks.retain(|block| self.tokens_of(block.tokens) == Some(tokens));
        Ok(Blocks { blocks, tokens })
    }

    /// Attention rollout: how much of each token reaches the tokens that the head reads, if each block mixes them half by
    /// half by its attention, averaged over heads, and keeps the other half where it is (Abnar and Zuidema 2020, section 3).
    ///
    /// # Errors
    /// `DeviceError` if a graphics card gives no result.
    pub(crate) async fn rollout(&self, blocks: &Blocks, input: &Tensor<4>) -> Result<Vec<f64>> {
        let n = blocks.tokens.count;
        let weights = blocks.blocks.iter().map(|block| block.weights).collect();
        let program = self.compiled(self.plan.whole(vec![ValueId(0)], weights));
        let mut joint: Vec<f64> = (0..n * n).map(|i| f64::from(u8::from(i / n == i % n))).collect();
        for weights in self.run_input(&program, input, 0).await? {
            let heads = weights.len() / (n * n);
            let mut mixed = joint.clone();
            for (row, mixed) in mixed.chunks_exact_mut(n).enumerate() {
                mixed.iter_mut().for_each(|value| *value *= 0.5);
                for (token, other) in joint.chunks_exact(n).enumerate() {
                    let each = (0..heads).map(|head| f64::from(weights[(head * n + row) * n + token]));
                    let share = 0.5 * each.sum::<f64>() / heads as f64;
                    mixed.iter_mut().zip(other).for_each(|(sum, value)| *sum += share * value);
                }
            }
            joint = mixed;
        }
        let last = blocks.blocks.last().expect("there are blocks");
        let read = reach::read(&self.plan, last.tokens);
        let rows: Vec<&[f64]> = joint
            .chunks_exact(n)
            .zip(read.chunks_exact(blocks.tokens.width))
            .filter(|(_, read)| read.contains(&true))
            .map(|(row, _)| row)
            .collect();
        Ok((0..n).map(|token| rows.iter().map(|row| row[token]).sum::<f64>() / rows.len() as f64).collect())
    }

    /// LeGrad (Bousselham et al. 2024): the positive gradients, by the weights of each block's attention, of what the head makes
    /// of the mean of the block's tokens; of each key the mean over heads, queries and blocks. As torch-cam has it.
    ///
    /// # Errors
    /// `DeviceError` if a graphics card gives no result, and those of `pause`, which is called before each block.
    pub(crate) async fn legrad(
        &self,
        blocks: &Blocks,
        input: &Tensor<4>,
        class_weights: &[f64],
        pause: impl AsyncFn(f32) -> Result<()>,
    ) -> Result<Vec<f64>> {
        let Tokens { count: n, width, .. } = blocks.tokens;
        let last = blocks.blocks.last().expect("there are blocks").tokens;
        let head = self.between(last, self.plan.output.value);
        let ways: Vec<Stretch> = blocks.blocks.iter().map(|block| self.between(block.weights, block.tokens)).collect();
        // One run for all that the ways back need.
        let mut wanted: Vec<ValueId> = ways.iter().chain([&head]).flat_map(|way| way.inputs.clone()).collect();
        wanted.extend(blocks.blocks.iter().map(|block| block.tokens));
        wanted.sort_unstable();
        wanted.dedup();
        let program = self.compiled(self.plan.whole(vec![ValueId(0)], wanted.clone()));
        let values: HashMap<ValueId, Vec<f32>> =
            wanted.into_iter().zip(self.run_input(&program, input, 0).await?).collect();
        let weights: Vec<f32> = class_weights.iter().map(|&weight| weight as f32).collect();
        let back = |forward: Stretch| {
            let wanted = forward.inputs[0];
            self.compiled_back(WayBack { forward, wanted, rectifiers: Rectifiers::Plain, biases: false })
        };
        let of_all = |numbers: &[f32]| -> Vec<f32> {
            let sum = |channel: usize| numbers.iter().skip(channel).step_by(width).sum::<f32>();
            let mean: Vec<f32> = (0..width).map(|channel| sum(channel) / n as f32).collect();
            mean.repeat(n)
        };
        let head_kept = head.inputs[1..].to_vec();
        let head = back(head);
        let mut sums = vec![0.; n];
        for (index, (block, way)) in blocks.blocks.iter().zip(ways).enumerate() {
            pause(index as f32 / blocks.blocks.len() as f32).await?;
            let given = |numbers: &[f32]| (TensorData::new(numbers.to_vec(), [numbers.len()]), 1);
            let mut inputs = vec![given(&of_all(&values[&block.tokens]))];
            inputs.extend(head_kept.iter().map(|value| given(&values[value])));
            inputs.push(given(&weights));
            let gradient = self.run_program(&head, inputs, 1, 0).await?.swap_remove(0);
            // Each token has its part in the mean.
            let gradient = of_all(&gradient);
            let mut inputs: Vec<_> = way.inputs.iter().map(|value| given(&values[value])).collect();
            inputs.push(given(&gradient));
            let gradient = self.run_program(&back(way), inputs, 1, 0).await?.swap_remove(0);
            let share = 1. / (gradient.len() / n * blocks.blocks.len()) as f64;
            for row in gradient.chunks_exact(n) {
                sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += share * f64::from(value.max(0.)));
            }
        }
        Ok(sums)
    }

    /// The steps from one value to another, which take the first and whatever else was computed without it.
    fn between(&self, start: ValueId, end: ValueId) -> Stretch {
        let behind = self.plan.downstream_of(start);
        let mut needed = vec![false; self.plan.values.len()];
        needed[end.0] = true;
        for step in self.plan.steps.iter().rev().filter(|step| behind[step.output.0]) {
            if needed[step.output.0] {
                step.inputs.iter().filter_map(Source::value).for_each(|value| needed[value.0] = true);
            }
        }
        let others =
            (0..needed.len()).map(ValueId).filter(|value| needed[value.0] && !behind[value.0] && *value != start);
        let inputs = [start].into_iter().chain(others).collect();
        let steps = self.plan.steps_to(|value| behind[value.0] && needed[value.0]);
        Stretch { steps, inputs, outputs: vec![end] }
    }
}
