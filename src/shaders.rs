//! The arithmetic of networks on the GPU: WGSL texts.
//!
//! Activations lie channels last in vectors of four, so that neighbouring threads read neighbouring channels. Sizes and
//! strides come in a buffer of parameters instead of the text: networks then share a handful of pipelines, whose
//! compilation is what a first picture waits for. burn's operators define what the shaders compute.
//!
//! **Invariants.** A text declares a binding for each buffer and uses it. Threads beyond the edge of the output write nothing;
//! every number of a vector is written, also where its channel does not exist.

use crate::formula::{Combine, Function, Rectifier};

/// How many threads work together.
const THREADS: u32 = 64;

/// How many groups of threads every device takes along one axis.
const MOST_GROUPS: u32 = 65_535;

/// What makes the text of one shader differ from another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shader {
    pub kind: Kind,
    pub function: Epilogue,
    /// Whether an output is read from, too, because the input lies in the same buffer.
    pub shared: Shared,
    /// Threads along the vectors of channels; the others lie along the pixels.
    pub lanes: u32,
}

/// What a thread computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Sums over windows and channels for a tile of pixels and vectors of outputs.
    Convolution {
        input: Input,
        pixels: u32,
        vectors: u32,
        edges: Edges,
        affine: bool,
        addend: bool,
    },
    /// Of one pixel: the threads of a group share the inputs.
    Row {
        affine: bool,
        addend: bool,
    },
    /// Sums over windows, each channel for itself, for a few pixels and one vector.
    Depthwise {
        pixels: u32,
        edges: Edges,
        affine: bool,
        addend: bool,
    },
    /// The maximum or the sum over a window for one pixel and one vector.
    Pool {
        max: bool,
        each: bool,
    },
    /// The same over the whole image, for whose pixels the threads of a group share the work.
    Whole {
        max: bool,
    },
    /// A scale and a shift for each channel.
    Map,
    Combine(Combine),
    /// The slope of a function, times the gradient by its result, which is the other operand. The input is the function's
    /// argument, of ReLU and everything else that limits numbers its result.
    Slope,
    /// The gradient by the input of a maximum, which goes to the first place that has it; the gradient is the other operand.
    MaxBack,
    /// The gradient by the input of a sum.
    SumBack {
        each: bool,
    },
    /// Number by number, from any strides.
    Copy,
    /// Products of matrices, whose second factor may be a constant and to which one may be added: 4 × 4 results a thread.
    Product {
        constant: bool,
        bias: bool,
    },
}

/// What the windows of a convolution meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Edges {
    /// Pixels alone.
    Inside,
    /// Zeros beyond the edges.
    Around,
    /// Zeros beyond the edges and between the pixels, which lie as far apart as the stride says: the way back.
    Between,
}

/// How a convolution reads its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// In vectors of channels.
    Vectors,
    /// Number by number, from any strides and the channels of a group.
    Numbers,
}

/// Which operands lie in the output's buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Shared {
    pub input: bool,
    pub other: bool,
}

/// The function applied before a result is stored. Its two parameters come from the uniform block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Epilogue {
    Plain,
    Relu,
    Rectifier,
    Clip,
    HardSigmoid,
    HardSwish,
    Sigmoid,
    Swish,
    Tanh,
    Sqrt,
    Abs,
}

impl Epilogue {
    /// A function and its parameters.
    pub(crate) fn of(function: Function) -> (Epilogue, [f32; 2]) {
        match function {
            Function::Rectifier(Rectifier::PLAIN) => (Epilogue::Plain, [0., 0.]),
            Function::Rectifier(Rectifier { slope: 0., high: f32::INFINITY }) => (Epilogue::Relu, [0., 0.]),
            Function::Rectifier(Rectifier { slope, high }) => (Epilogue::Rectifier, [slope, high]),
            Function::Clip(low, high) => (Epilogue::Clip, [low, high]),
            Function::HardSigmoid(alpha, beta) => (Epilogue::HardSigmoid, [alpha, beta]),
            Function::HardSwish => (Epilogue::HardSwish, [0., 0.]),
            Function::Sigmoid => (Epilogue::Sigmoid, [0., 0.]),
            Function::Swish(alpha) => (Epilogue::Swish, [alpha, 0.]),
            Function::Tanh => (Epilogue::Tanh, [0., 0.]),
            Function::Sqrt => (Epilogue::Sqrt, [0., 0.]),
            Function::Abs => (Epilogue::Abs, [0., 0.]),
        }
    }

    /// Of a vector `v`, with parameters `f`. Comparisons instead of `max` and `min`: those may lose what is not a number.
    fn text(self) -> &'static str {
        match self {
            Epilogue::Plain => "v",
            Epilogue::Relu => "select(v, vec4f(), v < vec4f())",
            Epilogue::Rectifier => "least(select(v, v * f.x, v < vec4f()), f.y)",
            Epilogue::Clip => "least(select(v, vec4f(f.x), v < vec4f(f.x)), f.y)",
            Epilogue::HardSigmoid => "clamp(v * f.x + f.y, vec4f(), vec4f(1.0))",
            Epilogue::HardSwish => "v * clamp(v / 6.0 + 0.5, vec4f(), vec4f(1.0))",
            Epilogue::Sigmoid => "1.0 / (1.0 + exp(-v))",
            Epilogue::Swish => "v / (1.0 + exp(-f.x * v))",
            // Beyond 15 it is 1, and some devices overflow.
            Epilogue::Tanh => "tanh(clamp(v, vec4f(-15.0), vec4f(15.0)))",
            Epilogue::Sqrt => "sqrt(v)",
            Epilogue::Abs => "abs(v)",
        }
    }

    /// Its slope, of a vector `v` of arguments, of what limits numbers of results. At corners it is PyTorch's.
    fn slope(self) -> &'static str {
        match self {
            Epilogue::Plain => "vec4f(1.0)",
            Epilogue::Relu => "select(vec4f(), vec4f(1.0), v > vec4f())",
            Epilogue::Rectifier => "select(vec4f(), select(vec4f(f.x), vec4f(1.0), v > vec4f()), v < vec4f(f.y))",
            Epilogue::Clip => "select(vec4f(), vec4f(1.0), (v > vec4f(f.x)) & (v < vec4f(f.y)))",
            Epilogue::HardSigmoid => {
                "select(vec4f(), vec4f(f.x), (v * f.x + f.y > vec4f()) & (v * f.x + f.y < vec4f(1.0)))"
            }
            Epilogue::HardSwish => {
                "clamp(v / 6.0 + 0.5, vec4f(), vec4f(1.0)) + select(vec4f(), v / 6.0, abs(v) < vec4f(3.0))"
            }
            Epilogue::Sigmoid => "1.0 / (1.0 + exp(-v)) * (1.0 - 1.0 / (1.0 + exp(-v)))",
            Epilogue::Swish => "(1.0 + f.x * v * (1.0 - 1.0 / (1.0 + exp(-f.x * v)))) / (1.0 + exp(-f.x * v))",
            Epilogue::Tanh => {
                "1.0 - tanh(clamp(v, vec4f(-15.0), vec4f(15.0))) * tanh(clamp(v, vec4f(-15.0), vec4f(15.0)))"
            }
            Epilogue::Sqrt => "0.5 / sqrt(v)",
            Epilogue::Abs => "sign(v)",
        }
    }
}

/// Numbers that a dispatch gives a shader, sizes and strides; what the channels have of their own follows behind them.
///
/// Strides of vectors count vectors, strides of numbers count numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes {
    /// Of the output: pixels, pixels in a row, vectors of channels.
    pub pixels: usize,
    pub width: usize,
    pub vectors: usize,
    /// Of the input: channels that are summed (in vectors, if it is read in vectors), rows, columns.
    pub depth: usize,
    pub input_size: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// What comes before the first pixel; negative where the first pixels are left out.
    pub padding: [isize; 2],
    pub dilation: [usize; 2],
    pub input: Strides,
    pub output: Strides,
    pub other: Strides,
    /// Outputs to each group of channels.
    pub outputs_per_group: usize,
    /// Channels that exist, of which `first` are left out (negative: so many come before).
    pub channels: usize,
    pub first: isize,
    /// Of copies: the first channel of each group comes first.
    pub groups: usize,
    pub parameters: [f32; 2],
    /// The other operand's rows and columns.
    pub other_size: [usize; 2],
    /// Of pools: what each result is multiplied by, and what is there before the first number. Of copies: what lies outside.
    pub factor: f32,
    pub start: f32,
}

/// Where the numbers of a buffer lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strides {
    pub offset: usize,
    pub image: usize,
    pub row: usize,
    pub pixel: usize,
    pub channel: usize,
}

/// Vectors before the channels' own parameters.
const HEADER: usize = 10;

impl Sizes {
    /// The parameters' buffer; `layers` is from [`Shader::groups`], `tail` is what follows, in whole vectors.
    pub(crate) fn parameters(&self, layers: u32, tail: &[f32]) -> Vec<u32> {
        let strides = |s: Strides| [s.offset, s.image, s.row, s.pixel].map(|n| n as u32);
        let two = |a: [usize; 2], b: [usize; 2]| [a[0], a[1], b[0], b[1]].map(|n| n as u32);
        let header: [[u32; 4]; HEADER] = [
            [self.pixels as u32, self.width as u32, self.vectors as u32, self.depth as u32],
            two(self.input_size, self.kernel),
            two(self.stride, self.dilation),
            [self.padding[0] as u32, self.padding[1] as u32, self.outputs_per_group as u32, self.input.channel as u32],
            strides(self.input),
            strides(self.output),
            strides(self.other),
            [self.channels as u32, self.first as u32, self.groups as u32, layers],
            [self.parameters[0].to_bits(), self.parameters[1].to_bits(), self.factor.to_bits(), self.start.to_bits()],
            two(self.other_size, [0; 2]),
        ];
        let header = header.as_flattened().iter().copied();
        header.chain(tail.iter().map(|number| number.to_bits())).collect()
    }
}

/// What a dispatch gives the shader of a product: matrices `[a, b, rows, columns]`, in numbers.
pub(crate) struct Factors {
    /// Those of the result, and up to where it is written: zeros beyond.
    pub sides: [usize; 4],
    pub written: [usize; 4],
    /// How many products make a sum.
    pub depth: usize,
    /// Of the factors, the result and what is added.
    pub strides: [[usize; 4]; 4],
    pub offsets: [usize; 4],
    /// From an image to the next, of the factors and the result.
    pub images: [usize; 3],
}

impl Factors {
    fn threads(&self) -> usize {
        let [a, b, rows, columns] = self.written;
        a * b * rows.div_ceil(4) * columns.div_ceil(4)
    }

    /// How many groups of threads the result of one image takes.
    pub(crate) fn groups(&self) -> [u32; 3] {
        let groups = self.threads().div_ceil(THREADS as usize) as u32;
        [groups.min(MOST_GROUPS), groups.div_ceil(MOST_GROUPS), 1]
    }

    /// The parameters' buffer.
    pub(crate) fn parameters(&self) -> Vec<u32> {
        let [_, b, rows, columns] = self.written;
        let [_, own @ ..] = self.sides;
        // Neighbours in memory are neighbouring threads'.
        let is_interleaved = usize::from(self.strides[2][1] == 1);
        let [left, right, output] = self.images;
        let rest = [[b, rows, columns, self.depth], [left, right, output, is_interleaved]];
        let last = [own[0], own[1], own[2], self.threads()];
        let all = [&rest[..], &self.strides, &[self.offsets, last]].concat();
        all.as_flattened().iter().map(|&number| number as u32).collect()
    }
}

impl Shader {
    /// How many groups of threads an output of one image takes: along vectors and pixels, and in how many layers the pixels
    /// lie, for one may not hold them all.
    pub(crate) fn groups(&self, sizes: &Sizes) -> [u32; 3] {
        let rows = THREADS / self.lanes;
        let (pixels, vectors) = match self.kind {
            Kind::Convolution { pixels, vectors, .. } => (rows * pixels, self.lanes * vectors),
            Kind::Depthwise { pixels, .. } => (rows * pixels, self.lanes),
            Kind::Row { .. } | Kind::Whole { .. } => return [(sizes.vectors as u32).div_ceil(self.lanes), 1, 1],
            _ => (rows, self.lanes),
        };
        let along = (sizes.pixels as u32).div_ceil(pixels);
        [(sizes.vectors as u32).div_ceil(vectors), along.min(MOST_GROUPS), along.div_ceil(MOST_GROUPS)]
    }

    /// The threads along so many vectors: as many as there are, so that few stand idle.
    pub(crate) fn lanes_for(vectors: usize) -> u32 {
        (vectors as u32).next_power_of_two().clamp(1, 8)
    }

    fn has_other(&self) -> bool {
        match self.kind {
            Kind::Convolution { addend, .. } | Kind::Row { addend, .. } | Kind::Depthwise { addend, .. } => addend,
            Kind::Combine(_) | Kind::Slope | Kind::MaxBack => true,
            Kind::Product { constant, .. } => !constant,
            _ => false,
        }
    }

    fn has_weights(&self) -> bool {
        match self.kind {
            Kind::Convolution { .. } | Kind::Row { .. } | Kind::Depthwise { .. } => true,
            Kind::Product { constant, bias } => constant || bias,
            _ => false,
        }
    }

    /// The buffers in the order in which they are bound: output, parameters, then those of input, weights and other operand
    /// that there are and that are not the output's.
    pub(crate) fn operands(&self) -> Vec<Operand> {
        let mut operands = vec![Operand::Output, Operand::Parameters];
        operands.extend((!self.shared.input).then_some(Operand::Input));
        operands.extend(self.has_weights().then_some(Operand::Weights));
        operands.extend((self.has_other() && !self.shared.other).then_some(Operand::Other));
        operands
    }

    /// The shader's text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let numbers_alone = matches!(self.kind, Kind::Copy | Kind::Product { .. });
        let one_kind = if numbers_alone { "f32" } else { "vec4f" };
        for (binding, operand) in self.operands().into_iter().enumerate() {
            let (name, numbers) = match operand {
                Operand::Output => ("output", one_kind),
                Operand::Parameters => ("sizes", "vec4u"),
                Operand::Input => ("input", if self.reads_numbers() { "f32" } else { "vec4f" }),
                Operand::Weights => ("weights", one_kind),
                Operand::Other => ("other", one_kind),
            };
            let access = if operand == Operand::Output { "read_write" } else { "read" };
            text += &format!("@group(0) @binding({binding}) var<storage, {access}> {name}: array<{numbers}>;\n");
        }
        text += COMMON;
        let (name, last) = match self.kind {
            Kind::Slope => ("slope", self.function.slope()),
            _ => ("finished", self.function.text()),
        };
        text += &format!("fn {name}(v: vec4f) -> vec4f {{ let f = floats(8u); return {last}; }}\n");
        let (lanes, rows) = (self.lanes, THREADS / self.lanes);
        let body = match self.kind {
            Kind::Convolution { input, pixels, vectors, edges, .. } => convolution(input, pixels, vectors, edges),
            Kind::Row { .. } => row(lanes, rows),
            Kind::Depthwise { pixels, edges, .. } => depthwise(pixels, edges),
            Kind::Pool { max, each } => pool(max, each),
            Kind::Whole { max } => whole(max, lanes, rows),
            Kind::Map => map(),
            Kind::Combine(combine) => combined(combine),
            Kind::Slope => sloped(),
            Kind::MaxBack => max_back(),
            Kind::SumBack { each } => sum_back(each),
            Kind::Copy => copy(),
            Kind::Product { constant, bias } => product(constant, bias),
        };
        text += &self.store();
        text += &body
            .replace("$SIZE", &format!("{lanes}, {rows}"))
            .replace("$LANES", &format!("{lanes}u"))
            .replace("$ROWS", &format!("{rows}u"));
        let text = if self.shared.input { text.replace("input[", "output[") } else { text };
        if self.shared.other { text.replace("other[", "output[") } else { text }
    }

    fn reads_numbers(&self) -> bool {
        matches!(self.kind, Kind::Copy | Kind::Product { .. } | Kind::Convolution { input: Input::Numbers, .. })
    }

    /// The function that stores a sum: bias, scale and shift of its channels, the other operand, the last function.
    fn store(&self) -> String {
        let (affine, addend) = match self.kind {
            Kind::Convolution { affine, addend, .. }
            | Kind::Row { affine, addend }
            | Kind::Depthwise { affine, addend, .. } => (affine, addend),
            _ => return String::new(),
        };
        let affine =
            if affine { "v = v * floats(HEADER + count.z + n) + floats(HEADER + 2 * count.z + n);" } else { "" };
        let addend = if addend { "let b = sizes[6]; v += other[b.x + image * b.y + m * b.w + n];" } else { "" };
        format!(
            "fn store(image: u32, m: u32, n: u32, sum: vec4f) {{
                let count = sizes[0];
                if (m >= count.x || n >= count.z) {{ return; }}
                var v = sum + floats(HEADER + n);
                {affine}
                {addend}
                let o = sizes[5];
                output[o.x + image * o.y + m * o.w + n] = finished(v);
            }}\n"
        )
    }
}

/// A buffer of a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    Output,
    Parameters,
    Input,
    Weights,
    Other,
}

const COMMON: &str = "
const HEADER = 10u;
fn floats(i: u32) -> vec4f { return bitcast<vec4f>(sizes[i]); }
fn least(v: vec4f, high: f32) -> vec4f { return select(v, vec4f(high), v > vec4f(high)); }
";

/// The first lines of a shader: each thread begins at the vector `n` and the pixel `m` of `image`, and has so many of them.
fn start(pixels: u32, vectors: u32) -> String {
    format!(
        "
@compute @workgroup_size($SIZE, 1)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {{
    let count = sizes[0]; let extent = vec4i(sizes[1]); let steps = vec4i(sizes[2]); let padding = vec4i(sizes[3]);
    let source = sizes[4]; let o = sizes[5];
    let layers = sizes[7].w; let image = group.z / layers;
    let n = (group.x * $LANES + local.x) * {vectors}u;
    let m = ((group.y + group.z % layers * {MOST_GROUPS}u) * $ROWS + local.y) * {pixels}u;
"
    )
}

/// The same text for each of a few numbers.
fn each(count: u32, text: impl Fn(u32) -> String) -> String {
    (0..count).map(|i| text(i) + "\n").collect()
}

/// Where the windows of a thread's pixels begin.
fn corners(pixels: u32, edges: Edges) -> String {
    let [down, right] = if edges == Edges::Between { ["", ""] } else { [" * steps.x", " * steps.y"] };
    each(pixels, |i| {
        format!(
            "let at{i} = min(m + {i}u, count.x - 1u);
             let y{i} = i32(at{i} / count.y){down} - padding.x; let x{i} = i32(at{i} % count.y){right} - padding.y;"
        )
    })
}

/// Where a window's place lies in the input, `input{i}`, and whether it does, `in{i}`.
fn places(pixels: u32, edges: Edges) -> String {
    each(pixels, |i| {
        match edges {
        Edges::Inside => {
            format!("let p{i} = base + u32(y{i} + ky * steps.z) * source.z + u32(x{i} + kx * steps.w) * source.w;")
        }
        Edges::Around => format!(
            "let v{i} = y{i} + ky * steps.z; let u{i} = x{i} + kx * steps.w;
             let in{i} = v{i} >= 0 && v{i} < extent.x && u{i} >= 0 && u{i} < extent.y;
             let p{i} = base + u32(clamp(v{i}, 0, extent.x - 1)) * source.z + u32(clamp(u{i}, 0, extent.y - 1)) * source.w;"
        ),
        Edges::Between => format!(
            "let t{i} = y{i} + ky; let r{i} = x{i} + kx; let v{i} = t{i} / steps.x; let u{i} = r{i} / steps.y;
             let in{i} = t{i} >= 0 && v{i} * steps.x == t{i} && v{i} < extent.x && r{i} >= 0 && u{i} * steps.y == r{i} && u{i} < extent.y;
             let p{i} = base + u32(clamp(v{i}, 0, extent.x - 1)) * source.z + u32(clamp(u{i}, 0, extent.y - 1)) * source.w;"
        ),
    }
    })
}

/// Leaves out a tap of a window, `weights` vectors of weights, that meets zeros alone.
fn skipped(pixels: u32, edges: Edges, weights: &str) -> String {
    match edges {
        Edges::Between => {
            let any: Vec<String> = (0..pixels).map(|i| format!("in{i}")).collect();
            format!("if (!({})) {{ w += {weights} * count.z; continue; }}", any.join(" || "))
        }
        _ => String::new(),
    }
}

/// Sums over windows, `s{pixel}_{vector}` of a thread's pixels and vectors: what `inner` adds at each place of them.
fn windows(pixels: u32, vectors: u32, base: &str, edges: Edges, inner: &str) -> String {
    let each_sum = |text: &dyn Fn(u32, u32) -> String| each(pixels * vectors, |i| text(i / vectors, i % vectors));
    format!(
        "{start}
        if (n >= count.z || m >= count.x) {{ return; }}
        let base = {base};
        {corners}
        {sums}
        var w = n;
        for (var ky = 0; ky < extent.z; ky++) {{
            for (var kx = 0; kx < extent.w; kx++) {{
                {places}
                {inner}
            }}
        }}
        {stores}
        }}",
        start = start(pixels, vectors),
        corners = corners(pixels, edges),
        places = places(pixels, edges),
        sums = each_sum(&|i, t| format!("var s{i}_{t} = vec4f();")),
        stores = each_sum(&|i, t| format!("store(image, m + {i}u, n + {t}u, s{i}_{t});")),
    )
}

fn convolution(input: Input, pixels: u32, vectors: u32, edges: Edges) -> String {
    let load = |i: u32, index: &str, zero: &str| match edges {
        Edges::Inside => format!("input[{index}]"),
        _ => format!("select({zero}, input[{index}], in{i})"),
    };
    let multiply = |factor: &dyn Fn(u32) -> String| {
        each(vectors, |t| {
            format!("let w{t} = weights[w + {t}u];")
                + &each(pixels, |i| format!("s{i}_{t} = fma(vec4f({}), w{t}, s{i}_{t});", factor(i)))
        })
    };
    let (base, each_tap, inner) = match input {
        Input::Vectors => (
            "source.x + image * source.y",
            "4 * count.w",
            each(pixels, |i| format!("let a{i} = {};", load(i, &format!("p{i} + c"), "vec4f()")))
                + &["x", "y", "z", "w"]
                    .map(|lane| format!("{{ {} }} w += count.z;", multiply(&|i| format!("a{i}.{lane}"))))
                    .concat(),
        ),
        Input::Numbers => (
            "source.x + image * source.y + (4 * n / sizes[3].z) * count.w * sizes[3].w",
            "count.w",
            each(pixels, |i| format!("let a{i} = {};", load(i, &format!("p{i} + c * sizes[3].w"), "0.0")))
                + &multiply(&|i| format!("a{i}"))
                + "w += count.z;",
        ),
    };
    let skipped = skipped(pixels, edges, each_tap);
    windows(pixels, vectors, base, edges, &format!("{skipped} for (var c = 0u; c < count.w; c++) {{ {inner} }}"))
}

fn row(lanes: u32, rows: u32) -> String {
    let start = start(1, 1);
    format!(
        "var<workgroup> parts: array<vec4f, {THREADS}>;
        {start}
        let base = source.x + image * source.y;
        var sum = vec4f();
        if (n < count.z) {{
            for (var c = local.y; c < count.w; c += $ROWS) {{
                let a = input[base + c];
                let w = 4 * c * count.z + n;
                sum += a.x * weights[w] + a.y * weights[w + count.z] + a.z * weights[w + 2 * count.z] + a.w * weights[w + 3 * count.z];
            }}
        }}
        parts[local.y * $LANES + local.x] = sum;
        workgroupBarrier();
        if (local.y == 0u && n < count.z) {{
            for (var i = 1u; i < {rows}u; i++) {{ sum += parts[i * {lanes}u + local.x]; }}
            store(image, 0u, n, sum);
        }}
        }}"
    )
}

fn depthwise(pixels: u32, edges: Edges) -> String {
    let skipped = skipped(pixels, edges, "1u");
    let sums = each(pixels, |i| format!("s{i}_0 = fma(select(vec4f(), input[p{i}], in{i}), weight, s{i}_0);"));
    let inner = format!("{skipped} let weight = weights[w]; {sums} w += count.z;");
    windows(pixels, 1, "source.x + image * source.y + n", edges, &inner)
}

/// Joins a number to those before it.
fn join(max: bool) -> &'static str {
    if max { "best = max(best, value);" } else { "best += value;" }
}

fn pool(max: bool, each: bool) -> String {
    let factor = if each { "floats(HEADER + m / 4)[m % 4]" } else { "floats(8u).z" };
    format!(
        "{start}
        if (n >= count.z || m >= count.x) {{ return; }}
        let base = source.x + image * source.y + n;
        {corners}
        var best = vec4f(floats(8u).w);
        for (var ky = 0; ky < extent.z; ky++) {{
            let v = y0 + ky * steps.z;
            if (v < 0 || v >= extent.x) {{ continue; }}
            for (var kx = 0; kx < extent.w; kx++) {{
                let u = x0 + kx * steps.w;
                if (u < 0 || u >= extent.y) {{ continue; }}
                let value = input[base + u32(v) * source.z + u32(u) * source.w];
                {join}
            }}
        }}
        output[o.x + image * o.y + m * o.w + n] = finished(best * {factor});
        }}",
        start = start(1, 1),
        corners = corners(1, Edges::Around),
        join = join(max),
    )
}

fn whole(max: bool, lanes: u32, rows: u32) -> String {
    let (start, join) = (start(1, 1), join(max));
    format!(
        "var<workgroup> parts: array<vec4f, {THREADS}>;
        {start}
        let base = source.x + image * source.y + n;
        var best = vec4f(floats(8u).w);
        if (n < count.z) {{
            for (var i = local.y; i < u32(extent.x * extent.y); i += $ROWS) {{
                let value = input[base + i * source.w];
                {join}
            }}
        }}
        parts[local.y * $LANES + local.x] = best;
        workgroupBarrier();
        if (local.y == 0u && n < count.z) {{
            for (var i = 1u; i < {rows}u; i++) {{
                let value = parts[i * {lanes}u + local.x];
                {join}
            }}
            output[o.x + image * o.y + n] = finished(best * floats(8u).z);
        }}
        }}"
    )
}

/// One pixel and one vector a thread, output like input.
fn map() -> String {
    let start = start(1, 1);
    format!(
        "{start}
        if (n >= count.z || m >= count.x) {{ return; }}
        let v = input[source.x + image * source.y + m * source.w + n];
        output[o.x + image * o.y + m * o.w + n] = finished(v * floats(HEADER + n) + floats(HEADER + count.z + n));
        }}"
    )
}

fn combined(combine: Combine) -> String {
    let sign = match combine {
        Combine::Add => "+",
        Combine::Sub => "-",
        Combine::Mul => "*",
    };
    of_two(&format!("finished(v {sign} w)"))
}

fn sloped() -> String {
    of_two("slope(v) * w")
}

/// What `result` makes of the numbers `v` and `w` at each place of two values.
fn of_two(result: &str) -> String {
    let start = start(1, 1);
    format!(
        "{start}
        let b = sizes[6];
        if (n >= count.z || m >= count.x) {{ return; }}
        let v = input[source.x + image * source.y + m * source.w + n];
        let w = other[b.x + image * b.y + m * b.w + n];
        output[o.x + image * o.y + m * o.w + n] = {result};
        }}"
    )
}

/// Sums up what `inner` adds for each window over a place `y`, `x` of the input: the window's result is at `v`, `u` of so many
/// rows and columns.
fn over(rows: &str, columns: &str, before: &str, inner: &str) -> String {
    format!(
        "{start}
        if (n >= count.z || m >= count.x) {{ return; }}
        let y = i32(m / count.y); let x = i32(m % count.y);
        {before}
        var sum = vec4f();
        for (var ky = 0; ky < extent.z; ky++) {{
            let t = y + padding.x - ky * steps.z; let v = t / steps.x;
            if (t < 0 || v * steps.x != t || v >= {rows}) {{ continue; }}
            for (var kx = 0; kx < extent.w; kx++) {{
                let r = x + padding.y - kx * steps.w; let u = r / steps.y;
                if (r < 0 || u * steps.y != r || u >= {columns}) {{ continue; }}
                {inner}
            }}
        }}
        output[o.x + image * o.y + m * o.w + n] = sum;
        }}",
        start = start(1, 1),
    )
}

fn max_back() -> String {
    let before = "let base = source.x + image * source.y + n; let b = sizes[6];
        let own = input[base + u32(y) * source.z + u32(x) * source.w];";
    let inner = "var is_first = vec4<bool>(true);
        for (var jy = 0; jy < extent.z; jy++) {
            let p = v * steps.x - padding.x + jy * steps.z;
            if (p < 0 || p >= extent.x) { continue; }
            for (var jx = 0; jx < extent.w; jx++) {
                let q = u * steps.y - padding.y + jx * steps.w;
                if (q < 0 || q >= extent.y || (jy == ky && jx == kx)) { continue; }
                let value = input[base + u32(p) * source.z + u32(q) * source.w];
                let is_before = jy < ky || (jy == ky && jx < kx);
                is_first &= (value < own) | ((value == own) & vec4<bool>(!is_before));
            }
        }
        sum += select(vec4f(), other[b.x + image * b.y + u32(v) * b.z + u32(u) * b.w + n], is_first);";
    over("i32(sizes[9].x)", "i32(sizes[9].y)", before, inner)
}

fn sum_back(each: bool) -> String {
    let factor = match each {
        true => "let p = u32(v * extent.y + u); let factor = floats(HEADER + p / 4)[p % 4];",
        false => "let factor = floats(8u).z;",
    };
    let inner = "sum += input[source.x + image * source.y + u32(v) * source.z + u32(u) * source.w + n] * factor;";
    over("extent.x", "extent.y", "", &(factor.to_owned() + inner))
}

/// One number a thread; `count.z` counts numbers.
fn copy() -> String {
    let start = start(1, 1);
    format!(
        "{start}
        let channels = vec4i(sizes[7]);
        if (n >= count.z || m >= count.x) {{ return; }}
        let y = i32(m / count.y) * steps.x - padding.x; let x = i32(m % count.y) * steps.y - padding.y;
        let c = i32(n) % channels.z * (channels.x / channels.z) + i32(n) / channels.z + channels.y;
        var v = vec4f(floats(8u).w);
        if (y >= 0 && y < extent.x && x >= 0 && x < extent.y && c >= 0 && c < channels.x) {{
            v.x = input[source.x + image * source.y + u32(y) * source.z + u32(x) * source.w + u32(c) * sizes[3].w];
        }}
        output[o.x + image * o.y + m * o.w + n] = finished(v).x;
        }}"
    )
}

fn product(constant: bool, bias: bool) -> String {
    let factor = if constant { "weights" } else { "other" };
    let [left, right] = [("input", "p", ".w"), (factor, "q", ".z")].map(|(name, at, step)| {
        let strides = if at == "p" { "lefts" } else { "rights" };
        let lane = |i: u32| format!("{name}[{at}{i} + k * {strides}{step}]");
        format!("vec4f({}, {}, {}, {})", lane(0), lane(1), lane(2), lane(3))
    });
    let added = if bias { " + weights[added + r * adds.z + c * adds.w]" } else { "" };
    let stores = each(4, |i| {
        each(4, |j| {
            format!(
                "{{
                    let r = min(m + {i}u, own.y - 1u); let c = min(n + {j}u, own.z - 1u);
                    if (m + {i}u < count.y && n + {j}u < count.z) {{
                        let is_there = at.y < own.x && m + {i}u < own.y && n + {j}u < own.z;
                        let v = s{i}[{j}]{added};
                        output[to + (m + {i}u) * outs.z + (n + {j}u) * outs.w] = select(0.0, v, is_there);
                    }}
                }}"
            )
        })
    });
    format!(
        "
@compute @workgroup_size({THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {{
    let count = sizes[0]; let images = sizes[1]; let lefts = sizes[2]; let rights = sizes[3]; let outs = sizes[4];
    let adds = sizes[5]; let offsets = sizes[6]; let own = sizes[7];
    let rows = (count.y + 3u) / 4u; let columns = (count.z + 3u) / 4u;
    var i = (group.x + group.y * {MOST_GROUPS}u) * {THREADS}u + local;
    if (i >= own.w) {{ return; }}
    var at = vec4u();
    if (images.w == 1u) {{ at.y = i % count.x; i /= count.x; }}
    at.w = i % columns; i /= columns;
    at.z = i % rows; i /= rows;
    if (images.w == 0u) {{ at.y = i % count.x; i /= count.x; }}
    at.x = i;
    let m = at.z * 4u; let n = at.w * 4u;
    let b = min(at.y, own.x - 1u);
    let left = offsets.x + group.z * images.x + at.x * lefts.x + b * lefts.y;
    let right = offsets.y + group.z * images.y + at.x * rights.x + b * rights.y;
    let to = offsets.z + group.z * images.z + at.x * outs.x + at.y * outs.y;
    let added = offsets.w + at.x * adds.x + b * adds.y;
    {corners}
    for (var k = 0u; k < count.w; k++) {{
        let a = {left};
        let b = {right};
        {sums}
    }}
    {stores}
}}",
        corners = each(4, |i| {
            format!(
                "let p{i} = left + min(m + {i}u, own.y - 1u) * lefts.z;
                 let q{i} = right + min(n + {i}u, own.z - 1u) * rights.w;
                 var s{i} = vec4f();"
            )
        }),
        sums = each(4, |i| format!("s{i} = fma(vec4f(a[{i}]), b, s{i});")),
    )
}
