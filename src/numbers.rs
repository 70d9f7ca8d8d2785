//! Numbers in sentences and within bounds, without the standard library's way of writing floats: that finds the shortest digits
//! of any float and rounds to any number of them, and would be a fifth of the code of the browser's smallest build.
//! `f32::clamp` and `f64::clamp` bring it along, for their panic's sentence.

/// `value`, or the bound beyond which it is; NaN stays as it is.
#[inline(always)]
pub(crate) fn within<T: PartialOrd>(value: T, low: T, high: T) -> T {
    if value < low {
        low
    } else if value > high {
        high
    } else {
        value
    }
}

/// A number as a sentence has it, with seven digits at most.
pub(crate) fn decimal(number: impl Into<f64>) -> String {
    let number = number.into();
    let (sign, mut first) = (if number < 0. { "-" } else { "" }, number.abs());
    if first.is_nan() {
        return "NaN".into();
    }
    if first == 0. || first.is_infinite() {
        return format!("{sign}{}", if first == 0. { "0" } else { "infinity" });
    }
    let mut power = 0_i32;
    while first >= 10. {
        (first, power) = (first / 10., power + 1);
    }
    while first < 1. {
        (first, power) = (first * 10., power - 1);
    }
    let rounded = (first * 1e6).round() as u32;
    // 9.9999999 becomes 10.
    let (rounded, power) = if rounded == 10_000_000 { (1_000_000, power + 1) } else { (rounded, power) };
    let digits = rounded.to_string();
    let digits = digits.trim_end_matches('0');
    let zeros = |count: i32| "0".repeat(count as usize);
    let whole = power + 1 - digits.len() as i32;
    match power {
        -5..0 => format!("{sign}0.{}{digits}", zeros(-power - 1)),
        0..15 if whole >= 0 => format!("{sign}{digits}{}", zeros(whole)),
        0..7 => format!("{sign}{}.{}", &digits[..power as usize + 1], &digits[power as usize + 1..]),
        _ => {
            let rest = if digits.len() > 1 { format!(".{}", &digits[1..]) } else { String::new() };
            format!("{sign}{}{rest}e{power}", &digits[..1])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_write_them() {
        for (number, written) in [
            (0., "0"),
            (-0.5, "-0.5"),
            (2., "2"),
            (0.1_f32, "0.1"),
            (1.3, "1.3"),
            (-12.25, "-12.25"),
            (1_234_567., "1234567"),
            (3e9, "3000000000"),
            (1e-5, "0.00001"),
            (1.5e-7, "1.5e-7"),
            (9.999_999e-8, "9.999999e-8"),
            (1.25e20, "1.25e20"),
            (1e38, "1e38"),
            (f32::NAN, "NaN"),
            (f32::NEG_INFINITY, "-infinity"),
        ] {
            assert_eq!(decimal(number), written);
        }
        assert_eq!(decimal(9.999_999_99), "10");
        assert_eq!(decimal(99_999_999_f64), "100000000");
        assert_eq!(decimal(f64::MIN_POSITIVE), "2.225074e-308");
    }

    #[test]
    fn bounds_hold_all_but_nan() {
        assert_eq!([-1., 0.25, 7., f32::INFINITY].map(|value| within(value, 0., 1.)), [0., 0.25, 1., 1.]);
        assert!(within(f64::NAN, 0., 1.).is_nan());
    }
}
