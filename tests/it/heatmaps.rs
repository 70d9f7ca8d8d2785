//! Heatmaps against pytorch-grad-cam's final maps.

use gradcam_web::heatmap::{Grid, MapState};

use crate::fixtures::{Fixture, assert_close};

#[test]
fn heatmaps_at_the_size_of_the_input_equal_those_of_pytorch_grad_cam() {
    let mut compared = 0;
    for network in ["gap", "squeeze", "vgg", "residual", "flatten", "golden_tiny", "single"] {
        let fixture = Fixture::read(&format!("cams/{network}.safetensors"));
        for name in fixture.names() {
            let Some(case) = name.strip_suffix("/map") else { continue };
            let heatmap = format!("{case}/heatmap");
            if !fixture.has(&heatmap) {
                continue;
            }
            let (map, expected) = (fixture.tensor(name), fixture.tensor(&heatmap));
            let size = |shape: &[usize]| (shape[1] as u32, shape[0] as u32);
            let (width, height) = size(&map.shape);
            let map = Grid::new(width, height, map.values.clone());
            let (width, height) = size(&expected.shape);
            let actual = map.heatmap().resampled(width, height);
            // f32 rounding at different places of the same formula.
            assert_close(&format!("{network} {case}"), actual.grid().values(), &expected.values, 1e-6);
            assert_eq!(
                map.state() == MapState::Normal,
                expected.values.iter().any(|&value| value > 0.),
                "{network} {case}"
            );
            compared += 1;
        }
    }
    assert!(compared >= 100, "only {compared} heatmaps");
}
