//! Judges every method on networks and images with boxes: the tables of `docs/judging.md`.
//!
//! `cargo xtask judge` builds and runs this. One map is made for each image, of its true class at the default layer of
//! the method; heatmaps are compared with the boxes in the frame of the image. What was measured can be kept in a file,
//! picture by picture, so that a long run may be stopped and continued.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Instant;

use gradcam_web::Device;
use gradcam_web::ErrorKind;
use gradcam_web::cam::{ExplainOptions, Method, Prediction};
use gradcam_web::heatmap::{Grid, Heatmap};
use gradcam_web::image::Image;
use gradcam_web::judge::boxes::{
    BoxAccuracy, BoxHits, POINTING_TOLERANCE, Rect, best_iou, energy_inside, largest_part, points_at,
};
use gradcam_web::judge::{Judge, JudgeOptions};
use gradcam_web::network::Network;
use gradcam_web::onnx::{self, LoadOptions};
use gradcam_web::preprocess::{ChannelOrder, Preprocess, Resize, input_from_image};

#[path = "shared/manifest.rs"]
mod manifest;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The side of the pictures for which the tolerance of the pointing game is meant; smaller ones allow less.
const POINTING_SIDE: f32 = 224.;

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

/// The default network, which knows the classes of another set of images.
const EVERYDAY: &str = "everyday";
const EVERYDAY_MANIFEST: &str = "www/models/everyday/model.json";

/// Where that set's pictures are unpacked to.
const UNPACKED: &str = "target/tiny-imagenet-100";

const USAGE: &str = "\
usage: cargo xtask judge [OPTIONS]

  --networks A,B   of squeezenet, mobilenet-v2, mobilenet-v1-0.25, tiny-darknet, mobilenet-v2-quantised, which see
                   ../shared/data/ilsvrc-boxes-250, and everyday, which sees the val of ../shared/data/tiny-imagenet-100
  --pictures PATH  another folder like ilsvrc-boxes-250, with a boxes.csv and images/, or for everyday like the unpacked val
  --methods A,B    by their names, such as grad-cam
  --layer NAME     where maps are taken; default the last layer with places, or what suits the method
  --images N       so many images, evenly spread over the classes; default 250
  --curves N       insertion and deletion on so many of these; default 20, and 0 leaves them out
  --passes N       methods that run the network hundreds of times see as many of these as so many runs allow; default 5000
  --scores FILE    keep what was measured of each image there, between tabs; what the file holds is not measured again";

struct Arguments {
    networks: Vec<String>,
    pictures: Option<PathBuf>,
    methods: Vec<Method>,
    layer: Option<String>,
    images: usize,
    curves: usize,
    passes: usize,
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
        networks: NETWORKS.iter().map(|row| row.0).chain([EVERYDAY]).map(str::to_owned).collect(),
        pictures: None,
        methods: Method::ALL.to_vec(),
        layer: None,
        images: 250,
        curves: 20,
        passes: 5000,
        scores: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(option) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{option} needs a value\n\n{USAGE}"));
        let number = |text: String| text.parse().map_err(|_| format!("{option} {text}: a whole number is accepted"));
        match option.as_str() {
            "--networks" => arguments.networks = value()?.split(',').map(str::to_owned).collect(),
            "--pictures" => arguments.pictures = Some(value()?.into()),
            "--methods" => arguments.methods = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--layer" => arguments.layer = Some(value()?),
            "--images" => arguments.images = number(value()?)?,
            "--curves" => arguments.curves = number(value()?)?,
            "--passes" => arguments.passes = number(value()?)?,
            "--scores" => arguments.scores = Some(value()?.into()),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(arguments)
}

/// An image and what is on it.
struct Sample {
    file: PathBuf,
    /// In the network's order.
    class: usize,
    boxes: Vec<Rect>,
}

impl Sample {
    fn name(&self) -> String {
        self.file.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// A network with the classes of the images.
struct Judged {
    name: String,
    network: Rc<Network>,
    preprocess: Preprocess,
    /// A checksum: what was measured of another network by this name does not count.
    checksum: u64,
}

fn judge(arguments: &Arguments) -> Outcome<()> {
    let mut scores = Scores::open(arguments.scores.as_deref())?;
    for name in &arguments.networks {
        let judged = load(name)?;
        let samples = match (&arguments.pictures, name == EVERYDAY) {
            (Some(folder), true) => tiny_imagenet(folder)?,
            (Some(folder), false) => ilsvrc(folder)?,
            (None, true) => tiny_imagenet(&unpacked()?)?,
            (None, false) => ilsvrc(&Path::new(SHARED).join("data/ilsvrc-boxes-250"))?,
        };
        let chosen: Vec<&Sample> = spread(samples.len()).take(arguments.images).map(|at| &samples[at]).collect();
        let refused = measure(&judged, &chosen, arguments, &mut scores)?;
        print_tables(&judged, &chosen, arguments, &scores, &refused);
    }
    Ok(())
}

/// All places of `count`, in an order of which every beginning is spread evenly: by their mirrored binary digits.
fn spread(count: usize) -> impl Iterator<Item = usize> {
    let digits = count.next_power_of_two().trailing_zeros();
    let mirrored = move |index: usize| index.reverse_bits().checked_shr(usize::BITS - digits).unwrap_or(0);
    (0..count.next_power_of_two()).map(mirrored).filter(move |&place| place < count)
}

/// The images whose classes are ImageNet's in their usual order, by class.
fn ilsvrc(folder: &Path) -> Outcome<Vec<Sample>> {
    let list = folder.join("boxes.csv");
    let text = fs::read_to_string(&list)
        .map_err(|error| format!("{}: {error}; the images stand beside the repository", list.display()))?;
    let damaged = |line: &str| format!("boxes.csv: `{line}` is not file, class, width, height, boxes");
    text.lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let [file, class, _, _, boxes] = fields[..] else { return Err(damaged(line).into()) };
            Ok(Sample {
                file: folder.join("images").join(file),
                class: class.parse().map_err(|_| damaged(line))?,
                boxes: boxes.split('|').map(rect).collect::<Option<_>>().ok_or_else(|| damaged(line))?,
            })
        })
        .collect()
}

/// The folder of the default network's images, which are unpacked the first time.
fn unpacked() -> Outcome<PathBuf> {
    let folder = Path::new(UNPACKED);
    if !folder.join("val_boxes.tsv").exists() {
        let archive = Path::new(SHARED).join("data/tiny-imagenet-100/val.tar.xz");
        fs::create_dir_all(folder)?;
        let unpacked = Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(folder).status();
        if !unpacked.is_ok_and(|status| status.success()) {
            return Err(format!("{}: could not be unpacked; `tar` and `xz` are needed", archive.display()).into());
        }
    }
    Ok(folder.into())
}

/// The images of the default network's classes, by class.
fn tiny_imagenet(folder: &Path) -> Outcome<Vec<Sample>> {
    let table = |name: &str| -> Outcome<Vec<Vec<String>>> {
        let text = fs::read_to_string(folder.join(name))?;
        Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    };
    let classes: Vec<String> = table("classes.tsv")?.into_iter().map(|mut row| row.swap_remove(0)).collect();
    let mut samples = Vec::new();
    for row in table("val_boxes.tsv")?.into_iter().skip(1) {
        let damaged = || format!("val_boxes.tsv: `{}` is not file, class, box", row.join(" "));
        let [file, wnid, sides @ ..] = row.as_slice() else { return Err(damaged().into()) };
        let class = classes.iter().position(|class| class == wnid).ok_or_else(damaged)?;
        let boxes = vec![rect(&sides.join(" ")).ok_or_else(damaged)?];
        samples.push(Sample { file: folder.join("val").join(wnid).join(file), class, boxes });
    }
    samples.sort_by(|a, b| (a.class, &a.file).cmp(&(b.class, &b.file)));
    Ok(samples)
}

/// Four numbers between spaces.
fn rect(text: &str) -> Option<Rect> {
    let sides: Vec<f32> = text.split_whitespace().filter_map(|side| side.parse().ok()).collect();
    let [x0, y0, x1, y1] = sides[..] else { return None };
    Some(Rect { x0, y0, x1, y1 })
}

fn load(name: &str) -> Outcome<Judged> {
    let known = NETWORKS.iter().find(|row| row.0 == name);
    let (bytes, prepared) = match known {
        Some((_, file, ..)) => {
            let path = Path::new(SHARED).join("models").join(file);
            (fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?, None)
        }
        None if name == EVERYDAY => {
            let (bytes, preprocess) = manifest::read(Path::new(EVERYDAY_MANIFEST))?;
            (bytes, Some(preprocess))
        }
        None => {
            let names = NETWORKS.map(|row| row.0).join(", ");
            return Err(format!("there is no network `{name}`; there are {names}, {EVERYDAY}").into());
        }
    };
    let network = onnx::load(&bytes, &LoadOptions::default(), &Device::cpu())?;
    let input = *network.input();
    let preprocess = prepared.or(known.map(|&(_, _, mean, std)| Preprocess {
        width: input.width,
        height: input.height,
        // The images are squashed to a square already.
        resize: Resize::Stretch,
        mean: mean.to_vec(),
        std: std.to_vec(),
        order: ChannelOrder::Rgb,
    }));
    let preprocess = preprocess.expect("one of the two");
    // FNV-1a.
    let checksum =
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    Ok(Judged { name: name.into(), network: Rc::new(network), preprocess, checksum })
}

/// What was found out about one heatmap.
#[derive(Clone)]
struct Measured {
    /// Whether the network itself names the image's class.
    is_top: bool,
    pointing: bool,
    iou_15: f32,
    iou_20: f32,
    hits: BoxHits,
    energy: f32,
    /// The areas of insertion and deletion.
    curves: Option<[f32; 2]>,
    /// Of explaining a prediction that was made already.
    milliseconds: f64,
}

const COLUMNS: &str = "network\tchecksum\tlayer\tmethod\timage\tis-top\tpointing\tiou-15\tiou-20\tmax-box-acc-v2\tenergy\t\
                       insertion\tdeletion\tmilliseconds";

impl Measured {
    fn new(heatmap: &Heatmap, boxes: &[Rect]) -> Measured {
        let tolerance = POINTING_TOLERANCE * heatmap.grid().width() as f32 / POINTING_SIDE;
        let overlap = |share| largest_part(heatmap, share).map_or(0., |rect| best_iou(rect, boxes));
        Measured {
            is_top: false,
            pointing: points_at(heatmap, boxes, tolerance),
            iou_15: overlap(0.15),
            iou_20: overlap(0.2),
            hits: BoxHits::new(heatmap, boxes),
            energy: energy_inside(heatmap, boxes),
            curves: None,
            milliseconds: 0.,
        }
    }

    /// The last nine columns; thresholds as `from-to,from-to` for each of the three overlaps between bars.
    fn write(&self) -> String {
        let flag = |flag: bool| u8::from(flag);
        let ranges = |ranges: &Vec<Range<usize>>| {
            ranges.iter().map(|range| format!("{}-{}", range.start, range.end)).collect::<Vec<_>>().join(",")
        };
        let hits = self.hits.0.each_ref().map(ranges).join("|");
        let [insertion, deletion] =
            self.curves.map_or([String::new(), String::new()], |areas| areas.map(|area| area.to_string()));
        format!(
            "{}\t{}\t{}\t{}\t{hits}\t{}\t{insertion}\t{deletion}\t{:.2}",
            flag(self.is_top),
            flag(self.pointing),
            self.iou_15,
            self.iou_20,
            self.energy,
            self.milliseconds
        )
    }

    fn read(fields: &[&str]) -> Option<Measured> {
        let [is_top, pointing, iou_15, iou_20, hits, energy, insertion, deletion, milliseconds] = fields else {
            return None;
        };
        let range = |text: &str| {
            let (start, end) = text.split_once('-')?;
            Some(start.parse().ok()?..end.parse().ok()?)
        };
        let ranges =
            |text: &str| text.split(',').filter(|text| !text.is_empty()).map(range).collect::<Option<Vec<_>>>();
        let hits: Vec<Vec<Range<usize>>> = hits.split('|').map(ranges).collect::<Option<_>>()?;
        let curves = match (insertion.parse(), deletion.parse()) {
            (Ok(insertion), Ok(deletion)) => Some([insertion, deletion]),
            _ => None,
        };
        Some(Measured {
            is_top: *is_top == "1",
            pointing: *pointing == "1",
            iou_15: iou_15.parse().ok()?,
            iou_20: iou_20.parse().ok()?,
            hits: BoxHits(hits.try_into().ok()?),
            energy: energy.parse().ok()?,
            curves,
            milliseconds: milliseconds.parse().ok()?,
        })
    }
}

/// Everything measured so far.
struct Scores {
    /// By network, checksum, layer and method between tabs, then by image.
    measured: HashMap<String, HashMap<String, Measured>>,
    file: Option<fs::File>,
}

impl Scores {
    fn open(path: Option<&Path>) -> Outcome<Scores> {
        let mut scores = Scores { measured: HashMap::new(), file: None };
        let Some(path) = path else { return Ok(scores) };
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let is_new = !path.exists();
        if !is_new {
            let text = fs::read_to_string(path).map_err(failed)?;
            for line in text.lines().skip(1) {
                let fields: Vec<&str> = line.split('\t').collect();
                let measured = fields.get(5..).and_then(Measured::read);
                // The last line may have been cut off.
                let Some(measured) = measured else { continue };
                scores.measured.entry(fields[..4].join("\t")).or_default().insert(fields[4].to_owned(), measured);
            }
        }
        let mut file = fs::File::options().create(true).append(true).open(path).map_err(failed)?;
        // After a line that was cut off, a line of its own.
        writeln!(file, "{}", if is_new { COLUMNS } else { "" })?;
        scores.file = Some(file);
        Ok(scores)
    }

    fn of(&self, key: &str, image: &str) -> Option<&Measured> {
        self.measured.get(key)?.get(image)
    }

    fn add(&mut self, key: &str, image: &str, measured: Measured) -> Outcome<()> {
        if let Some(file) = &mut self.file {
            writeln!(file, "{key}\t{image}\t{}", measured.write())?;
        }
        self.measured.entry(key.to_owned()).or_default().insert(image.to_owned(), measured);
        Ok(())
    }
}

/// A heatmap that knows nothing of the image, to compare with.
#[derive(Clone, Copy, PartialEq)]
enum Baseline {
    /// A Gaussian whose deviation is a quarter of the side.
    Centre,
    /// The same everywhere but in one corner pixel: a box around everything.
    Full,
}

impl Baseline {
    const ALL: [Baseline; 2] = [Baseline::Centre, Baseline::Full];

    fn name(self) -> &'static str {
        match self {
            Baseline::Centre => "centre",
            Baseline::Full => "full",
        }
    }

    fn map(self, width: u32, height: u32) -> Grid {
        let (columns, rows) = (width as usize, height as usize);
        let values = (0..columns * rows).map(|place| match self {
            Baseline::Centre => {
                let from_middle = |at: usize, side: usize| (at as f32 + 0.5) / side as f32 - 0.5;
                let (x, y) = (from_middle(place % columns, columns), from_middle(place / columns, rows));
                (-(x * x + y * y) * 8.).exp()
            }
            Baseline::Full => f32::from(u8::from(place > 0)),
        });
        Grid::new(width, height, values.collect())
    }
}

/// What a table has a row for.
#[derive(Clone, Copy, PartialEq)]
enum Row {
    Method(Method),
    Baseline(Baseline),
}

impl Row {
    fn name(self) -> &'static str {
        match self {
            Row::Method(method) => method.name(),
            Row::Baseline(baseline) => baseline.name(),
        }
    }

    /// Under which its scores are kept.
    fn key(self, judged: &Judged, layer: Option<&str>) -> String {
        format!("{}\t{:016x}\t{}\t{}", judged.name, judged.checksum, layer.unwrap_or("-"), self.name())
    }
}

/// How often a method runs the network for one map, if hundreds of times.
fn many_passes(method: Method, network: &Network, layer: Option<&str>) -> Option<usize> {
    let name = layer.unwrap_or(network.default_layer());
    let channels = network.layers().iter().find(|layer| layer.name == name).map_or(1, |layer| layer.shape[0]);
    match method {
        Method::ScoreCam | Method::AblationCam => Some(channels),
        Method::SsCam => Some(35 * channels),
        Method::IsCam => Some(10 * channels),
        Method::Occlusion => Some(225),
        _ => None,
    }
}

/// Measures what is not known yet; returns why methods are refused.
fn measure(
    judged: &Judged,
    samples: &[&Sample],
    arguments: &Arguments,
    scores: &mut Scores,
) -> Outcome<Vec<(Method, String)>> {
    let network = &judged.network;
    let layer = arguments.layer.as_deref();
    let layers = layer.iter().map(|name| network.layer(name)).collect::<Result<Vec<_>, _>>()?;
    let mut refused: Vec<(Method, String)> = Vec::new();
    for (at, sample) in samples.iter().enumerate() {
        let image_name = sample.name();
        let is_seen =
            |method| many_passes(method, network, layer).is_none_or(|passes| (at + 1) * passes <= arguments.passes);
        let methods = arguments.methods.iter().copied().filter(|&method| is_seen(method));
        let methods = methods.filter(|method| refused.iter().all(|(other, _)| other != method)).map(Row::Method);
        let wants_curves = |row| at < arguments.curves && row != Row::Baseline(Baseline::Full);
        let is_missing = |row: &Row| {
            let measured = scores.of(&row.key(judged, layer), &image_name);
            measured.is_none_or(|measured| wants_curves(*row) && measured.curves.is_none())
        };
        let missing: Vec<Row> = methods.chain(Baseline::ALL.map(Row::Baseline)).filter(is_missing).collect();
        if missing.is_empty() {
            continue;
        }
        let image =
            Image::decode(&fs::read(&sample.file).map_err(|error| format!("{}: {error}", sample.file.display()))?)?;
        let (width, height) = (image.width(), image.height());
        let (values, _) = input_from_image(&image, &judged.preprocess, network.input().channels)?;
        let class = sample.class;
        let prediction = pollster::block_on(Prediction::new(network.clone(), &values))?;
        let explain = |method| {
            let layers = layers.clone();
            let options = ExplainOptions { method, target_class: Some(class), layers, ..ExplainOptions::default() };
            pollster::block_on(prediction.explain(&options, &|_| {}, &|| false))
        };
        // The run up to the layer is everyone's, and nobody's time.
        explain(Method::GradCam)?;
        let mut known: Vec<(Heatmap, [f32; 2])> = Vec::new();
        for row in missing {
            let started = Instant::now();
            let map = match row {
                Row::Baseline(baseline) => baseline.map(width, height),
                Row::Method(method) => match explain(method) {
                    Ok(explanation) => explanation.map,
                    Err(error) if error.kind() == ErrorKind::Unsupported => {
                        refused.push((method, error.message().to_owned()));
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                },
            };
            let milliseconds = started.elapsed().as_secs_f64() * 1000.;
            let heatmap = map.heatmap().resampled(width, height);
            let mut measured = Measured::new(&heatmap, &sample.boxes);
            measured.is_top = prediction.top_class() == class;
            measured.milliseconds = milliseconds;
            if wants_curves(row) {
                // On a pooling head many methods give one map, and its curves cost more than anything else here.
                let areas = match known.iter().find(|(other, _)| alike(other, &heatmap)) {
                    Some(&(_, areas)) => areas,
                    None => {
                        let judge = pollster::block_on(Judge::new(&prediction, &map, class, JudgeOptions::default()))?;
                        let (deletion, insertion) = pollster::block_on(judge.curves(&|_| {}, &|| false))?;
                        let areas = [insertion.area(), deletion.area()];
                        known.push((heatmap, areas));
                        areas
                    }
                };
                measured.curves = Some(areas);
            }
            scores.add(&row.key(judged, layer), &image_name, measured)?;
        }
        eprint!("\r{} {}/{} ", judged.name, at + 1, samples.len());
    }
    eprintln!();
    Ok(refused)
}

/// Prints the rows measured on all samples and then, beside Grad-CAM on the same, those measured on fewer.
fn print_tables(
    judged: &Judged,
    samples: &[&Sample],
    arguments: &Arguments,
    scores: &Scores,
    refused: &[(Method, String)],
) {
    let layer = arguments.layer.as_deref();
    let of = |row: Row, count: usize| -> Vec<&Measured> {
        let key = row.key(judged, layer);
        samples[..count].iter().map_while(|sample| scores.of(&key, &sample.name())).collect()
    };
    let rows = || Method::ALL.map(Row::Method).into_iter().chain(Baseline::ALL.map(Row::Baseline));
    let all = samples.len();
    let baseline = of(Row::Baseline(Baseline::Centre), all);
    let top = 100. * baseline.iter().filter(|measured| measured.is_top).count() as f64 / all.max(1) as f64;
    let name = layer.unwrap_or(judged.network.default_layer());
    println!("\n## {} at `{name}`\n\n{all} images; the true class is the top class of {top:.1} %.", judged.name);
    let heading = || {
        println!(
            "\n| method | images | pointing | IoU 15 % | IoU 20 % | MaxBoxAccV2 | energy | insertion | deletion | curves | passes | ms |"
        );
        println!("| --- {}|", "| --: ".repeat(11));
    };
    heading();
    for row in rows() {
        let measured = of(row, all);
        if measured.len() == all {
            println!("{}", line(row, &measured, judged, layer));
        }
    }
    for (method, reason) in refused {
        println!("\n{}: {reason}.", method.title());
    }

    let mut counts: Vec<usize> =
        rows().map(|row| of(row, all).len()).filter(|&count| count > 0 && count < all).collect();
    counts.sort_unstable();
    counts.dedup();
    if !counts.is_empty() {
        heading();
    }
    for count in counts.into_iter().rev() {
        for row in rows() {
            let is_beside = matches!(row, Row::Method(Method::GradCam) | Row::Baseline(Baseline::Centre));
            if of(row, all).len() == count || is_beside {
                println!("{}", line(row, &of(row, count), judged, layer));
            }
        }
    }
}

/// A row of a table: means times 100.
fn line(row: Row, measured: &[&Measured], judged: &Judged, layer: Option<&str>) -> String {
    let mean = |values: Vec<f32>| {
        let count = values.len();
        (count > 0).then(|| 100. * values.into_iter().map(f64::from).sum::<f64>() / count as f64)
    };
    let each = |value: fn(&Measured) -> f32| mean(measured.iter().map(|measured| value(measured)).collect());
    let curves: Vec<[f32; 2]> = measured.iter().filter_map(|measured| measured.curves).collect();
    let area = |index: usize| mean(curves.iter().map(|areas| areas[index]).collect());
    let mut accuracy = BoxAccuracy::default();
    measured.iter().for_each(|measured| accuracy.add(&measured.hits));
    // What is the same everywhere points nowhere.
    let pointing = each(|measured| f32::from(u8::from(measured.pointing)));
    let cells = [
        pointing.filter(|_| row != Row::Baseline(Baseline::Full)),
        each(|measured| measured.iou_15),
        each(|measured| measured.iou_20),
        (!measured.is_empty()).then(|| 100. * f64::from(accuracy.value())),
        each(|measured| measured.energy),
        area(0),
        area(1),
    ];
    let (title, passes) = match row {
        Row::Method(method) => {
            let passes = many_passes(method, &judged.network, layer).map(|passes| passes.to_string());
            (method.title().to_owned(), passes.unwrap_or_else(|| method.forward_passes().to_owned()))
        }
        Row::Baseline(Baseline::Centre) => ("*centre*".to_owned(), "0".to_owned()),
        Row::Baseline(Baseline::Full) => ("*full image*".to_owned(), "0".to_owned()),
    };
    let mut line = format!("| {title} | {} |", measured.len());
    for cell in cells {
        let text = cell.map_or("–".into(), |value| format!("{value:.1}"));
        write!(line, " {text} |").expect("a String takes everything");
    }
    // Whatever else the machine did can only have added to it.
    let time = measured.iter().map(|measured| measured.milliseconds).min_by(f64::total_cmp);
    let time = time.map_or("–".into(), |time| format!("{time:.0}"));
    write!(line, " {} | {passes} | {time} |", curves.len()).expect("a String takes everything");
    line
}

/// Whether two heatmaps differ by no more than rounding.
fn alike(a: &Heatmap, b: &Heatmap) -> bool {
    a.grid().values().iter().zip(b.grid().values()).all(|(a, b)| (a - b).abs() <= 1e-5)
}
