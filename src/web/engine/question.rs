//! A question about a prediction and its answer, each one plain object of JavaScript; index.d.ts describes what users see.

use wasm_bindgen::JsValue;

use crate::cam::{ExplainOptions, Explanation, FactorizeOptions, Start, Target};
use crate::heatmap::Grid;
use crate::judge::{Curve, JudgeOptions, Measures, PERCENTILES};
use crate::network::{LayerId, Network};
use crate::question::{Answer, Question};
use crate::sanity::SanityOptions;
use crate::web::value::{Fields, list, numbers, object};
use crate::{Error, ErrorKind, Result};

/// The question of that name.
///
/// # Errors
/// `TargetError` for a name, method, layer or target that does not exist.
pub(super) fn question_of(network: &Network, name: &str, fields: &Fields) -> Result<Question> {
    let layer = || Ok(Some(network.layer(&fields.text("layer"))?));
    let seed = fields.number("seed") as u64;
    let steps = fields.count("steps");
    Ok(match name {
        "explain" => Question::Explain(explain_options(network, fields)?),
        "sanityCheck" => Question::SanityCheck(explain_options(network, fields)?, SanityOptions { steps, seed }),
        "factorize" => Question::Factorize(FactorizeOptions {
            concepts: fields.count("concepts"),
            layer: layer()?,
            start: Start::Seed(seed),
        }),
        "units" => Question::Units {
            target_class: fields.count_if_any("targetClass"),
            layer: layer()?,
            count: fields.count("count"),
        },
        "classesAt" => Question::ClassesAt {
            layer: layer()?,
            place: (fields.count("column"), fields.count("row")),
            likeliest: fields.count("likeliest"),
        },
        "measure" => Question::Measure {
            map: grid_of(&Fields(&fields.field("map"))),
            target_class: fields.count("targetClass"),
            explained: explain_options(network, fields)?,
            options: JudgeOptions { steps, noise: fields.number("noise") as f32, seed },
        },
        _ => return Err(Error::new(ErrorKind::Target, format!("there is no question `{name}`"))),
    })
}

fn explain_options(network: &Network, fields: &Fields) -> Result<ExplainOptions> {
    let layers = fields.texts("layers");
    Ok(ExplainOptions {
        method: fields.text("method").parse()?,
        target_class: fields.count_if_any("targetClass"),
        target: Target::from_name(&fields.text("target"), fields.count_if_any("ratherThan"))?,
        layers: layers.iter().map(|name| network.layer(name)).collect::<Result<Vec<LayerId>>>()?,
        aug_smooth: fields.is("augSmooth"),
        eigen_smooth: fields.is("eigenSmooth"),
        ..ExplainOptions::default()
    })
}

fn grid_of(fields: &Fields) -> Grid {
    Grid::new(fields.number("width") as u32, fields.number("height") as u32, fields.numbers("values"))
}

/// The answer as the package takes it.
pub(super) fn value_of(answer: &Answer) -> JsValue {
    match answer {
        Answer::Explanation(explanation) => explanation_value(explanation),
        Answer::SanitySteps(steps) => list(steps.iter().map(|step| {
            object([
                ("layer", step.layer.as_str().into()),
                ("randomised", (step.randomised as u32).into()),
                ("rankCorrelation", step.rank_correlation.into()),
                ("explanation", explanation_value(&step.explanation)),
            ])
        })),
        Answer::Factorization(found) => list(found.concepts.iter().map(|concept| {
            object([
                ("map", grid_value(&concept.map)),
                ("scores", numbers(&concept.scores)),
                ("probabilities", numbers(&concept.probabilities)),
            ])
        })),
        Answer::Units(units) => list(units.iter().map(|unit| {
            object([
                ("channel", (unit.channel as u32).into()),
                ("contribution", unit.contribution.into()),
                ("map", grid_value(&unit.map)),
            ])
        })),
        Answer::Evidence(evidence) => object([
            (
                "classes",
                list(
                    evidence
                        .classes
                        .iter()
                        .map(|&(class, value)| object([("index", (class as u32).into()), ("evidence", value.into())])),
                ),
            ),
            ("all", evidence.all.into()),
        ]),
        Answer::Measures(measures) => measures_value(measures),
    }
}

fn explanation_value(explanation: &Explanation) -> JsValue {
    object([
        ("map", grid_value(&explanation.map)),
        ("method", explanation.method.name().into()),
        ("targetClass", (explanation.target_class as u32).into()),
        ("targetLayers", list(explanation.layers.iter().map(|name| name.as_str().into()))),
    ])
}

fn measures_value(measures: &Measures) -> JsValue {
    let Measures { confidence, deletion, insertion, road, coherency, complexity } = measures;
    let curve = |curve: &Curve| {
        object([
            ("fractions", numbers(&curve.fractions)),
            ("probabilities", numbers(&curve.probabilities)),
            ("area", curve.area().into()),
        ])
    };
    object([
        ("drop", confidence.drop.into()),
        ("increase", confidence.increase.into()),
        ("scoreChange", confidence.score_change.into()),
        ("coherency", (*coherency).into()),
        ("complexity", (*complexity).into()),
        ("arcc", measures.arcc().into()),
        ("deletion", curve(deletion)),
        ("insertion", curve(insertion)),
        (
            "road",
            object([
                ("percentiles", js_sys::Uint8Array::from(&PERCENTILES[..]).into()),
                ("mostRelevantFirst", numbers(&road.most_relevant_first)),
                ("leastRelevantFirst", numbers(&road.least_relevant_first)),
                ("combined", road.combined().into()),
            ]),
        ),
    ])
}

fn grid_value(grid: &Grid) -> JsValue {
    object([("width", grid.width().into()), ("height", grid.height().into()), ("values", numbers(grid.values()))])
}
