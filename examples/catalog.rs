//! Prints the tables that JavaScript needs as well, as JSON, for `cargo xtask codegen`.

use gradcam_web::{
    cam::{Method, Target},
    image::FileKind,
    overlay::{Colormap, Style},
    preprocess::{CHANNELS, ChannelOrder, MAX_INPUT_SIDE, Resize},
};
use serde_json::json;

fn main() {
    let methods = Method::ALL.map(|method| {
        json!({
            "name": method.name(),
            "title": method.title(),
            "paper": method.paper(),
            "summary": method.summary(),
            "forwardPasses": method.forward_passes(),
            "warmPlaces": method.warm_places(),
        })
    });
    let colormaps = Colormap::ALL.map(Colormap::name);
    let files = FileKind::ALL.map(|kind| {
        // A character a byte.
        let magic: String = kind.magic.iter().map(|&byte| char::from(byte)).collect();
        json!({ "magic": magic, "isRare": kind.is_rare })
    });
    let preprocess = json!({
        "resize": Resize::ALL.map(Resize::name),
        "order": ChannelOrder::ALL.map(ChannelOrder::name),
        "maxSide": MAX_INPUT_SIDE,
        "maxChannels": CHANNELS.iter().max(),
    });
    let style = Style::default();
    let style =
        json!({ "colormap": style.colormap().name(), "opacity": style.opacity(), "threshold": style.threshold() });
    let targets = Target::NAMES;
    let catalog = json!({
        "methods": methods, "colormaps": colormaps, "targets": targets, "files": files, "preprocess": preprocess, "style": style,
    });
    println!("{catalog}");
}
