//! What a file may take: counted before anything is allocated or looped over, so that a few hundred bytes can't ask for
//! gigabytes or hours.
//!
//! Networks that exist stay far below; what a file brings along itself (parameters) counts by its own size.
//!
//! **Invariants.** Sums saturate: no size of a file overflows them, on 32 bits either.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use prost::bytes::Bytes;

use super::literal::{Literal, grown};
use super::proto::{Graph, Node};
use crate::error::shortened;
use crate::plan::work::{product, work};
use crate::plan::{Op, Plan, Source, Step, ValueId, rank4};
use crate::{Error, ErrorKind, Result};

/// Nodes, attributes, tensors and other messages of a file. Each takes up to some hundred bytes once it is read.
pub(super) const MAX_MESSAGES: usize = 1 << 20;

/// Steps of a network. Large ones have some thousand.
const MAX_STEPS: u64 = 20_000;

/// Multiplications and additions of one run: some minutes in a browser. The largest vision transformers have 2·10¹¹.
const MAX_WORK: u64 = 1 << 40;

/// The same for what is computed of constants while loading: a second or two.
const MAX_FOLDED_WORK: u64 = 1 << 31;

/// The most numbers of a constant that anything is computed of while loading, or two for each byte of the file, which may
/// have four bits a number. Larger ones, the made-up weights of a file without its own, are read by steps alone.
const MAX_COMPUTED: u64 = 1 << 24;

/// The most numbers that one step on constants reads, writes and takes beside them, or one for two bytes of the file.
const MAX_AT_ONCE: u64 = 1 << 26;

/// Numbers that are read and computed of constants while loading, beside eight for each byte of the file. Results count
/// twice, and integers, which are kept in eight bytes, eight times.
const MAX_FOLDED: u64 = 1 << 29;

/// Bytes of parameters and values at a time, beside four for each byte of the file: parameters are held as they are and
/// in the order in which kernels read them. VGG-19 takes 1.5 GiB.
const MAX_MEMORY: u64 = 7 << 28;

/// Numbers of the parameters that steps hold, beside one for each byte of the file: others, and their kernels' order, are
/// there at the same time.
const MAX_HELD: u64 = 1 << 28;

/// Beyond this no browser gives memory to one instance.
const MAX_TOTAL: u64 = 7 << 29;

/// Scores that a network may have.
pub(super) const MAX_CLASSES: usize = 1_000_000;

/// Entries of a file's metadata.
pub(super) const MAX_METADATA: usize = 10_000;

/// What one node counts as, in numbers, whatever it does.
const NODE: usize = 1 << 10;

/// What an input, an output, an attribute or an initializer within counts as: loops and branches look at them round after round.
const PART: usize = 1 << 7;

/// Bytes of the names of steps, beside the file's own: loops and recurrent layers repeat them.
const MAX_NAMES: u64 = 1 << 26;

/// What one place of a list counts as, in numbers: places are computed one by one.
const PLACE: usize = 8;

/// What is left of what a file may take. Once something was asked for that is not left, everything is refused, so that
/// who can't fail goes on with nothing and the node is refused in the end.
pub(super) struct Budget {
    /// Of the file.
    bytes: u64,
    steps: Cell<u64>,
    work: Cell<u64>,
    folded_work: Cell<u64>,
    folded: Cell<u64>,
    /// Numbers of the constants that steps hold.
    held: Cell<u64>,
    names: Cell<u64>,
    refusal: RefCell<Option<String>>,
}

/// Whether it was there; if not, what was too much.
type Taken = std::result::Result<(), String>;

impl Budget {
    /// For a file of so many bytes.
    pub fn new(bytes: usize) -> Budget {
        let bytes = bytes as u64;
        Budget {
            bytes,
            steps: Cell::new(MAX_STEPS),
            work: Cell::new(MAX_WORK),
            folded_work: Cell::new(MAX_FOLDED_WORK),
            folded: Cell::new(folded(bytes)),
            held: Cell::new(held(bytes)),
            names: Cell::new(MAX_NAMES.saturating_add(bytes)),
            refusal: RefCell::new(None),
        }
    }

    /// What was too much, if something was.
    pub fn refusal(&self) -> Option<String> {
        self.refusal.borrow().clone()
    }

    /// Takes a node of the file, with all that it lists.
    pub fn node(&self, node: &Node) -> Taken {
        let parts = node.input.len() + node.output.len() + node.attribute.len();
        let text = |text: &Option<Bytes>| text.as_ref().map_or(0, Bytes::len);
        let listed = node.attribute.iter().map(|a| a.ints.len() + a.floats.len() + PART * a.strings.len() + text(&a.s));
        self.fold(listed.fold(NODE + PART * parts, usize::saturating_add))
    }

    /// Takes a round of a loop, with what goes in and out, or a branch.
    pub fn round(&self, graph: &Graph) -> Taken {
        self.fold(NODE + PART * (graph.initializer.len() + graph.input.len() + graph.output.len()))
    }

    /// Takes the bytes of a step's names.
    pub fn names(&self, bytes: usize) -> Taken {
        let most = || format!("the names of the network's steps would take more than {} MiB", MAX_NAMES >> 20);
        self.take(&self.names, bytes as u64, most)
    }

    /// Takes numbers that are read while loading.
    pub fn fold(&self, numbers: usize) -> Taken {
        self.folds_so_many(&self.folded, numbers as u64)
    }

    fn folds_so_many(&self, left: &Cell<u64>, numbers: u64) -> Taken {
        let most = || format!("more than {} numbers would be computed of constants while loading", folded(self.bytes));
        self.take(left, numbers, most)
    }

    /// Looks whether so much is left that what is computed of these constants alone can be afforded: it is taken when it
    /// is there, and may be as large as the largest of them.
    pub fn computed(&self, constants: &[&Literal]) -> Taken {
        let largest = constants.iter().map(|literal| literal.len()).max().unwrap_or(0) as u64;
        let most = MAX_COMPUTED.max(self.bytes.saturating_mul(2));
        if largest > most {
            return Err(format!(
                "a constant of {largest} numbers; of up to {most} something is computed while loading"
            ));
        }
        self.could_fold(largest as usize)
    }

    /// Looks whether a result of so many numbers can be afforded.
    pub fn could_fold(&self, numbers: usize) -> Taken {
        self.folds_so_many(&Cell::new(self.folded.get()), (numbers as u64).saturating_mul(2))
    }

    /// The same for a result, which stays.
    pub fn fold_result(&self, result: &Literal) -> Taken {
        let times = if result.as_ints().is_some() { 8 } else { 2 };
        self.fold(result.len().saturating_mul(times))
    }

    /// The same for a list of places.
    pub fn places(&self, count: usize) -> Taken {
        self.fold(count.saturating_mul(PLACE))
    }

    /// Takes a step on constants, if it can be taken: nothing is empty, and the result fits, and what it takes beside it.
    pub fn fold_step(&self, op: &Op, operands: &[[usize; 4]], shape: &[usize]) -> bool {
        if shape.len() > 4 || shape.contains(&0) || operands.iter().any(|operand| operand.contains(&0)) {
            return false;
        }
        let sizes: Vec<u64> = operands.iter().map(|operand| product(operand)).collect();
        let largest = sizes.iter().copied().max().unwrap_or(0);
        let passing = operands.first().map_or(0, |x| passing(op, x, shape));
        let at_once = sizes.iter().fold(passing.saturating_add(product(shape)), |sum, &size| sum.saturating_add(size));
        grown(shape, largest as usize).is_some_and(|size| {
            let most = MAX_AT_ONCE.max(self.bytes / 2);
            let afforded = self.take(&Cell::new(most), at_once, || {
                format!(
                    "what is computed of constants while loading would take {at_once} numbers at once; up to {most} \
                     are accepted"
                )
            });
            // The result stays as long as the steps behind it.
            let afforded = afforded.and_then(|()| self.fold(size.saturating_mul(2)));
            afforded.and_then(|()| self.fold_work(work(op, operands, shape))).is_ok()
        })
    }

    /// Takes the work of a step on constants.
    pub fn fold_work(&self, work: u64) -> Taken {
        self.take(&self.folded_work, work, || {
            format!(
                "what is computed of constants while loading would take more than {MAX_FOLDED_WORK} multiplications"
            )
        })
    }

    /// Takes a step of the network, with its work.
    pub fn step(&self, work: u64) -> Taken {
        self.take(&self.steps, 1, || format!("the network would have more than {MAX_STEPS} steps"))?;
        self.take(&self.work, work, || {
            format!("with this node, which takes {work}, one run would take more than {MAX_WORK} multiplications")
        })
    }

    /// Takes the numbers of a constant that a step holds.
    pub fn hold(&self, numbers: usize) -> Taken {
        self.take(&self.held, numbers as u64, || self.too_much_held())
    }

    /// Looks whether steps could hold so many more numbers.
    pub fn could_hold(&self, numbers: usize) -> Taken {
        // Nothing is taken yet: the steps may turn out to be one constant.
        self.take(&Cell::new(self.held.get()), numbers as u64, || self.too_much_held())
    }

    fn too_much_held(&self) -> String {
        let mebibytes = held(self.bytes).saturating_mul(4) >> 20;
        format!("the network's parameters would take more than {mebibytes} MiB")
    }

    fn take(&self, left: &Cell<u64>, amount: u64, refusal: impl Fn() -> String) -> Taken {
        match (self.refusal(), left.get().checked_sub(amount)) {
            (None, Some(rest)) => {
                left.set(rest);
                Ok(())
            }
            (earlier, _) => {
                let refusal = earlier.unwrap_or_else(refusal);
                *self.refusal.borrow_mut() = Some(refusal.clone());
                Err(refusal)
            }
        }
    }
}

/// How many numbers may be computed of constants, for a file of so many bytes.
fn folded(bytes: u64) -> u64 {
    MAX_FOLDED.saturating_add(bytes.saturating_mul(8))
}

/// How many numbers of parameters steps may hold, for a file of so many bytes.
fn held(bytes: u64) -> u64 {
    MAX_HELD.saturating_add(bytes)
}

/// The bytes that a network from a file of so many may take.
fn memory(bytes: u64) -> u64 {
    MAX_MEMORY.saturating_add(bytes.saturating_mul(4)).min(MAX_TOTAL)
}

/// How many numbers a value takes in memory: channels in whole vectors.
fn numbers(shape: &[usize]) -> u64 {
    let mut shape = rank4(shape);
    let channels = if shape[0] == 1 && shape[2] * shape[3] > 1 { 1 } else { 3 };
    shape[channels] = shape[channels].next_multiple_of(4);
    product(&shape)
}

/// How many numbers a step takes beside its operands and its result, at the time it runs.
fn passing(op: &Op, x: &[usize], shape: &[usize]) -> u64 {
    match op {
        // The input again, within its border.
        Op::Convolution { padding, .. } | Op::AveragePool { padding, .. } => {
            let [n, channels, height, width] = rank4(x);
            let (rows, columns) = (height + padding[0].0 + padding[0].1, width + padding[1].0 + padding[1].1);
            product(&[n, channels.next_multiple_of(4), rows, columns])
        }
        Op::LocalResponse { .. } | Op::Normalize { .. } | Op::Softmax { .. } => numbers(shape).saturating_mul(2),
        Op::Resample => numbers(x).saturating_add(numbers(shape)),
        _ => 0,
    }
}

/// How many numbers a constant of a step, its input of that number, takes in the order of the kernels.
fn packed(op: &Op, index: usize, constant: [usize; 4]) -> u64 {
    match op {
        Op::Convolution { stride, groups, .. } if index == 1 => {
            let [outputs, inputs, rows, columns] = constant;
            // The fast way for 3 × 3 has 6 × 6 instead.
            let times = if *groups == 1 && [rows, columns] == [3, 3] && *stride == [1, 1] { 4 } else { 1 };
            product(&[times, outputs.next_multiple_of(8), inputs.next_multiple_of(4), rows, columns])
        }
        // As they are, or by channels.
        _ => product(&constant),
    }
}

/// How many numbers a step holds in lists of its own.
fn listed(op: &Op) -> u64 {
    match op {
        Op::Pick { places, .. } => places.len() as u64,
        Op::Select { indices, .. } => indices.len() as u64,
        _ => 0,
    }
}

/// Checks that the parameters of a plan and the values that live at the same time fit in memory.
///
/// # Errors
/// `UnsupportedError` with the figure and the node at which it is reached.
pub(super) fn check_memory(plan: &Plan, bytes: usize) -> Result<()> {
    let values = |step: &Step| -> HashSet<ValueId> {
        let values = step.inputs.iter().map(|source| if let Source::Value(id) = source { Some(*id) } else { None });
        values.flatten().collect()
    };
    let mut last_use: HashMap<ValueId, usize> = HashMap::new();
    for (index, step) in plan.steps.iter().enumerate() {
        last_use.extend(values(step).into_iter().map(|value| (value, index)));
    }
    let shape = |value: ValueId| plan.values[value.0].shape.as_slice();
    let mut parameters: u64 = plan.constants.iter().map(|constant| constant.values.len() as u64).sum();
    let mut live = numbers(shape(ValueId(0)));
    for (index, step) in plan.steps.iter().enumerate() {
        parameters = parameters.saturating_add(listed(&step.op));
        for (index, source) in step.inputs.iter().enumerate() {
            if let Source::Constant(constant) = source {
                parameters = parameters.saturating_add(packed(&step.op, index, plan.constants[*constant].shape));
            }
        }
        live = live.saturating_add(numbers(shape(step.output)));
        let x = if let Some(Source::Value(x)) = step.inputs.first() { shape(*x) } else { &[] };
        let sum = parameters.saturating_add(live).saturating_add(passing(&step.op, x, shape(step.output)));
        if sum.saturating_mul(4) > memory(bytes as u64) {
            let name = if step.node.is_empty() { &plan.values[step.output.0].name } else { &step.node };
            let message = format!(
                "node `{}` ({}): the network needs {} MiB of memory here, {} of them for parameters; up to {} MiB are \
                 accepted for a file of its size",
                shortened(name),
                step.operator,
                sum.saturating_mul(4) >> 20,
                parameters.saturating_mul(4) >> 20,
                memory(bytes as u64) >> 20,
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        for value in values(step).into_iter().filter(|value| last_use[value] == index) {
            live = live.saturating_sub(numbers(shape(value)));
        }
    }
    Ok(())
}
