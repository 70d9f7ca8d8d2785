//! Judges every method on networks and images with boxes beside the repository: the table of `docs/judging.md`.
//!
//! `cargo xtask judge` builds and runs this. One map is made for each image, of its true class at the default layer of
//! the method; heatmaps are compared with the boxes in the frame of the images, 224 × 224 pixels.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use burn_tensor::Device;
use gradcam_web::ErrorKind;
use gradcam_web::cam::{ExplainOptions, Method, Prediction};
use gradcam_web::heatmap::{Grid, Heatmap};
use gradcam_web::image::Image;
use gradcam_web::judge::boxes::{
    BoxAccuracy, POINTING_TOLERANCE, Rect, best_iou, energy_inside, largest_part, points_at,
};
use gradcam_web::judge::{Judge, JudgeOptions};
use gradcam_web::network::Network;
use gradcam_web::onnx::{self, LoadOptions};
use gradcam_web::preprocess::{ChannelOrder, Preprocess, Resize, input_from_image};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The side of the frame in which the images and boxes are, in pixels.
const FRAME: u32 = 224;

/// Where the images and the networks that know ImageNet are, from the repository's root.
const SHARED: &str = "../shared";

/// Name, file in `SHARED/models`, mean and standard deviation of its preprocessing.
const NETWORKS: [(&str, &str, &[f32], &[f32]); 5] = [
    ("squeezenet", "squeezenet1_1_torchvision_fp16w.onnx", &IMAGENET[0], &IMAGENET[1]),
    ("mobilenet-v2", "mobilenet_v2_1.0_224_w8.onnx", &[0.5], &[0.5]),
    ("mobilenet-v1-0.25", "mobilenet_v1_0.25_224.onnx", &[0.5], &[0.5]),
    ("tiny-darknet", "tiny_darknet.onnx", &[0.], &[1.]),
    ("mobilenet-v2-quantised", "mobilenetv2_quant_static.onnx", &IMAGENET[0], &IMAGENET[1]),
];

const IMAGENET: [[f32; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

const USAGE: &str = "\
usage: cargo xtask judge [OPTIONS]

  --networks A,B   of squeezenet, mobilenet-v2, mobilenet-v1-0.25, tiny-darknet, mobilenet-v2-quantised
  --methods A,B    by their names, such as grad-cam
  --layer NAME     where maps are taken; default the last layer with places, or what suits the method
  --images N       so many images, evenly spread over the classes; default 250, all of them
  --curves N       insertion and deletion on so many of these; default 20, and 0 leaves them out
  --many N         methods that run the network hundreds of times see so many of these; default 0
  --scores FILE    also write every number to a file: network, method, measure, images and value between tabs";

struct Arguments {
    networks: Option<Vec<String>>,
    methods: Vec<Method>,
    layer: Option<String>,
    images: usize,
    curves: usize,
    many: usize,
    scores: Option<PathBuf>,
}

fn main() {
    if std::env::args().any(|word| word == "--help") {
        println!("{USAGE}");
    } else if let Err(error) = arguments().and_then(|arguments| judge(&arguments)) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn arguments() -> Outcome<Arguments> {
    let mut arguments = Arguments {
        networks: None,
        methods: Method::ALL.to_vec(),
        layer: None,
        images: 250,
        curves: 20,
        many: 0,
        scores: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(option) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{option} needs a value\n\n{USAGE}"));
        let number = |text: String| text.parse().map_err(|_| format!("{option} {text}: a whole number is accepted"));
        match option.as_str() {
            "--networks" => arguments.networks = Some(value()?.split(',').map(str::to_owned).collect()),
            "--methods" => arguments.methods = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--layer" => arguments.layer = Some(value()?),
            "--images" => arguments.images = number(value()?)?,
            "--curves" => arguments.curves = number(value()?)?,
            "--many" => arguments.many = number(value()?)?,
            "--scores" => arguments.scores = Some(value()?.into()),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(arguments)
}

/// An image and what is on it.
struct Sample {
    file: PathBuf,
    /// In ImageNet's usual order.
    class: usize,
    boxes: Vec<Rect>,
}

/// A network with ImageNet's classes in their usual order.
struct Judged {
    name: String,
    network: Rc<Network>,
    preprocess: Preprocess,
}

fn judge(arguments: &Arguments) -> Outcome<()> {
    let samples = samples()?;
    let names = NETWORKS.map(|row| row.0);
    let wanted: Vec<&str> = match &arguments.networks {
        Some(wanted) => wanted.iter().map(String::as_str).collect(),
        None => names.to_vec(),
    };
    let mut scores = String::new();
    for name in wanted {
        let judged = load(name)?;
        let chosen = spread(samples.len(), arguments.images).into_iter().map(|at| &samples[at]).collect();
        table(&judged, chosen, arguments, &mut scores)?;
        if let Some(file) = &arguments.scores {
            fs::write(file, &scores).map_err(|error| format!("{}: {error}", file.display()))?;
        }
    }
    Ok(())
}

/// At most `count` of `all` places, evenly spaced.
fn spread(all: usize, count: usize) -> Vec<usize> {
    let count = count.min(all);
    (0..count).map(|at| at * all / count).collect()
}

fn samples() -> Outcome<Vec<Sample>> {
    let folder = Path::new(SHARED).join("data/ilsvrc-boxes-250");
    let text = fs::read_to_string(folder.join("boxes.csv"))
        .map_err(|error| format!("{}: {error}; the images stand beside the repository", folder.display()))?;
    let damaged = |line: &str| format!("boxes.csv: `{line}` is not file, class, width, height, boxes");
    text.lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let [file, class, _, _, boxes] = fields[..] else { return Err(damaged(line).into()) };
            let rects = boxes.split('|').map(|rect| {
                let sides: Vec<f32> = rect.split_whitespace().filter_map(|side| side.parse().ok()).collect();
                let [x0, y0, x1, y1] = sides[..] else { return Err(damaged(line)) };
                Ok(Rect { x0, y0, x1, y1 })
            });
            Ok(Sample {
                file: folder.join("images").join(file),
                class: class.parse().map_err(|_| damaged(line))?,
                boxes: rects.collect::<Result<_, _>>()?,
            })
        })
        .collect()
}

fn load(name: &str) -> Outcome<Judged> {
    let Some(&(_, file, mean, std)) = NETWORKS.iter().find(|row| row.0 == name) else {
        return Err(format!("there is no network `{name}`; there are {}", NETWORKS.map(|row| row.0).join(", ")).into());
    };
    let path = Path::new(SHARED).join("models").join(file);
    let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let network = onnx::load(&bytes, &LoadOptions::default(), &Device::flex())?;
    let input = *network.input();
    // The images are squashed to a square already.
    let preprocess = Preprocess {
        width: input.width,
        height: input.height,
        resize: Resize::Stretch,
        mean: mean.to_vec(),
        std: std.to_vec(),
        order: ChannelOrder::Rgb,
    };
    Ok(Judged { name: name.into(), network: Rc::new(network), preprocess })
}

/// What is counted of one method.
#[derive(Default)]
struct Row {
    images: usize,
    pointing: f64,
    iou_15: f64,
    iou_20: f64,
    accuracy: BoxAccuracy,
    energy: f64,
    curves: usize,
    insertion: f64,
    deletion: f64,
    /// Of explaining a prediction that was made already.
    milliseconds: Vec<f64>,
}

impl Row {
    fn add(&mut self, heatmap: &Heatmap, boxes: &[Rect]) {
        self.images += 1;
        self.pointing += f64::from(u8::from(points_at(heatmap, boxes, POINTING_TOLERANCE)));
        let overlap = |share| largest_part(heatmap, share).map_or(0., |rect| f64::from(best_iou(rect, boxes)));
        self.iou_15 += overlap(0.15);
        self.iou_20 += overlap(0.2);
        self.accuracy.add(heatmap, boxes);
        self.energy += f64::from(energy_inside(heatmap, boxes));
    }

    /// Names and means in percent; `None` where nothing was measured.
    fn measures(&self) -> [(&'static str, usize, Option<f64>); 7] {
        let mean = |sum: f64, count: usize| (count > 0).then(|| 100. * sum / count as f64);
        let images = self.images;
        [
            ("pointing", images, mean(self.pointing, images)),
            ("iou-15", images, mean(self.iou_15, images)),
            ("iou-20", images, mean(self.iou_20, images)),
            ("max-box-acc-v2", images, (images > 0).then(|| 100. * f64::from(self.accuracy.value()))),
            ("energy", images, mean(self.energy, images)),
            ("insertion", self.curves, mean(self.insertion, self.curves)),
            ("deletion", self.curves, mean(self.deletion, self.curves)),
        ]
    }

    fn median_milliseconds(&self) -> Option<f64> {
        let mut times = self.milliseconds.clone();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied()
    }
}

/// A heatmap that knows nothing of the image, to compare with.
#[derive(Clone, Copy)]
enum Baseline {
    /// A Gaussian whose deviation is a quarter of the side.
    Centre,
    /// The same everywhere but in one corner pixel: a box around everything.
    Full,
}

impl Baseline {
    fn map(self) -> Grid {
        let side = FRAME as usize;
        let values = (0..side * side).map(|place| match self {
            Baseline::Centre => {
                let middle = side as f32 / 2. - 0.5;
                let (x, y) = ((place % side) as f32 - middle, (place / side) as f32 - middle);
                (-(x * x + y * y) / (2. * (side as f32 / 4.).powi(2))).exp()
            }
            Baseline::Full => f32::from(u8::from(place > 0)),
        });
        Grid::new(FRAME, FRAME, values.collect())
    }
}

fn table(judged: &Judged, samples: Vec<&Sample>, arguments: &Arguments, scores: &mut String) -> Outcome<()> {
    let network = &judged.network;
    let layers = arguments.layer.iter().map(|name| network.layer(name)).collect::<Result<Vec<_>, _>>()?;
    let with_curves = spread(samples.len(), arguments.curves);
    let with_many = spread(samples.len(), arguments.many);
    let mut rows: Vec<(Method, Result<Row, String>)> =
        arguments.methods.iter().map(|&method| (method, Ok(Row::default()))).collect();
    let mut baselines = [Baseline::Centre, Baseline::Full].map(|baseline| (baseline, Row::default()));
    let mut right = 0;
    for (at, sample) in samples.iter().enumerate() {
        let image = Image::decode(&fs::read(&sample.file)?)?;
        let (values, _) = input_from_image(&image, &judged.preprocess, network.input().channels)?;
        let class = sample.class;
        let prediction = pollster::block_on(Prediction::new(network.clone(), network.input_tensor(&values)?))?;
        right += usize::from(prediction.top_class() == class);
        let mut known: Vec<(Heatmap, [f64; 2])> = Vec::new();
        let mut count = |row: &mut Row, map: &Grid, with_curves: bool| -> Outcome<()> {
            let heatmap = map.heatmap().resampled(FRAME, FRAME);
            row.add(&heatmap, &sample.boxes);
            if !with_curves {
                return Ok(());
            }
            // On a pooling head many methods give one map, and its curves cost more than anything else here.
            let areas = match known.iter().find(|(other, _)| alike(other, &heatmap)) {
                Some(&(_, areas)) => areas,
                None => {
                    let judge = pollster::block_on(Judge::new(&prediction, map, class, JudgeOptions::default()))?;
                    let (deletion, insertion) = pollster::block_on(judge.curves(&|_| {}, &|| false))?;
                    let areas = [insertion.area(), deletion.area()].map(f64::from);
                    known.push((heatmap, areas));
                    areas
                }
            };
            row.curves += 1;
            row.insertion += areas[0];
            row.deletion += areas[1];
            Ok(())
        };
        for (method, row) in &mut rows {
            let Ok(counted) = row else { continue };
            if is_many(*method) && !with_many.contains(&at) {
                continue;
            }
            let options = ExplainOptions {
                method: *method,
                target_class: Some(class),
                layers: layers.clone(),
                ..ExplainOptions::default()
            };
            let started = Instant::now();
            match pollster::block_on(prediction.explain(&options, &|_| {}, &|| false)) {
                Ok(explanation) => {
                    counted.milliseconds.push(started.elapsed().as_secs_f64() * 1000.);
                    count(counted, &explanation.map, with_curves.contains(&at))?;
                }
                Err(error) if error.kind() == ErrorKind::Unsupported => *row = Err(error.message().to_owned()),
                Err(error) => return Err(error.into()),
            }
        }
        for (baseline, row) in &mut baselines {
            // Where all is the same, no pixel comes before another.
            let with_curves = matches!(baseline, Baseline::Centre) && with_curves.contains(&at);
            count(row, &baseline.map(), with_curves)?;
        }
        eprint!("\r{} {}/{} ", judged.name, at + 1, samples.len());
    }
    eprintln!();

    let top = 100. * right as f64 / samples.len().max(1) as f64;
    let layer = arguments.layer.as_deref().unwrap_or(network.default_layer());
    println!(
        "\n## {} at `{layer}`\n\n{} images; the true class is the top class of {top:.1} %.\n",
        judged.name,
        samples.len()
    );
    println!(
        "| method | images | pointing | IoU 15 % | IoU 20 % | MaxBoxAccV2 | energy | insertion | deletion | passes | ms |"
    );
    println!("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
    for (method, row) in &rows {
        match row {
            Ok(row) => {
                let passes = method.forward_passes();
                let time = row.median_milliseconds().map_or("–".into(), |time| format!("{time:.0}"));
                println!("{} {passes} | {time} |", cells(method.title(), row, &[]));
                write_scores(scores, judged, method.name(), row);
            }
            Err(reason) => println!("| {} | {reason} |", method.title()),
        }
    }
    for (baseline, row) in &baselines {
        let (title, name, hidden): (_, _, &[&str]) = match baseline {
            Baseline::Centre => ("*centre*", "centre", &[]),
            // It points nowhere.
            Baseline::Full => ("*full image*", "full", &["pointing"]),
        };
        println!("{} 0 | 0 |", cells(title, row, hidden));
        write_scores(scores, judged, name, row);
    }
    Ok(())
}

/// Whether two heatmaps differ by no more than rounding.
fn alike(a: &Heatmap, b: &Heatmap) -> bool {
    a.grid().values().iter().zip(b.grid().values()).all(|(a, b)| (a - b).abs() <= 1e-5)
}

/// Whether a method runs the network hundreds of times.
fn is_many(method: Method) -> bool {
    let passes = method.forward_passes();
    passes.contains("a channel") || passes.starts_with("about")
}

fn cells(title: &str, row: &Row, hidden: &[&str]) -> String {
    let mut line = format!("| {title} | {} |", row.images);
    for (measure, _, value) in row.measures() {
        let text = match value {
            Some(value) if !hidden.contains(&measure) => format!("{value:.1}"),
            _ => "–".into(),
        };
        write!(line, " {text} |").expect("a String takes everything");
    }
    line
}

fn write_scores(scores: &mut String, judged: &Judged, method: &str, row: &Row) {
    for (measure, images, value) in row.measures() {
        let Some(value) = value else { continue };
        writeln!(scores, "{}\t{method}\t{measure}\t{images}\t{value:.4}", judged.name)
            .expect("a String takes everything");
    }
}
