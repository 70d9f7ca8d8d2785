//! Functions of each number, and the sums and softmaxes made of them.

use std::rc::Rc;

use super::Tensor;
use crate::kernels;

impl<const D: usize> Tensor<D> {
    /// `slope` is given a number and the function's value there.
    fn unary(self, function: impl Fn(f32) -> f32, slope: impl Fn(f32, f32) -> f32 + 'static) -> Self {
        self.each(&function, Box::new(slope))
    }

    /// One piece of code for all functions: few steps come here, and each function's own would be a sixtieth of the build.
    fn each(self, function: &dyn Fn(f32) -> f32, slope: Box<dyn Fn(f32, f32) -> f32>) -> Self {
        if self.mark.is_none() {
            let values = match Rc::try_unwrap(self.values) {
                Ok(mut values) => {
                    values.iter_mut().for_each(|value| *value = function(*value));
                    values
                }
                Err(shared) => shared.iter().map(|&value| function(value)).collect(),
            };
            return Tensor::made(self.shape, values);
        }
        let values = Rc::new(self.values.iter().map(|&value| function(value)).collect::<Vec<f32>>());
        let (x, y) = (self.values.clone(), values.clone());
        let origin = self.origin(|| {
            Box::new(move |gradient| {
                let numbers = x.iter().zip(y.iter());
                gradient.iter().zip(numbers).map(|(gradient, (&x, &y))| gradient * slope(x, y)).collect()
            })
        });
        Tensor::computed(self.shape, values, origin.into_iter().collect())
    }

    /// Each number and this one.
    pub fn add_scalar(self, number: f32) -> Self {
        self.unary(move |x| x + number, |_, _| 1.)
    }

    /// Each number times this one.
    pub fn mul_scalar(self, number: f32) -> Self {
        self.unary(move |x| x * number, move |_, _| number)
    }

    /// Each number to this power.
    pub fn powf_scalar(self, exponent: f32) -> Self {
        self.unary(move |x| x.powf(exponent), move |x, _| exponent * x.powf(exponent - 1.))
    }

    /// Square roots.
    pub fn sqrt(self) -> Self {
        self.unary(f32::sqrt, |_, y| 0.5 / y)
    }

    /// e to each number.
    pub fn exp(self) -> Self {
        self.unary(f32::exp, |_, y| y)
    }

    /// Natural logarithms.
    pub fn log(self) -> Self {
        self.unary(f32::ln, |x, _| 1. / x)
    }

    /// Absolute values.
    pub fn abs(self) -> Self {
        self.unary(f32::abs, |x, _| if x == 0. { 0. } else { x.signum() })
    }

    /// Each number with the other sign.
    pub fn neg(self) -> Self {
        self.unary(|x| -x, |_, _| -1.)
    }

    /// One divided by each.
    pub fn recip(self) -> Self {
        self.unary(|x| 1. / x, |_, y| -y * y)
    }

    /// Hyperbolic tangents.
    pub fn tanh(self) -> Self {
        self.unary(f32::tanh, |_, y| 1. - y * y)
    }

    /// The error function.
    pub fn erf(self) -> Self {
        self.unary(libm::erff, |x, _| std::f32::consts::FRAC_2_SQRT_PI * (-x * x).exp())
    }

    /// Halves to the even neighbour.
    pub fn round(self) -> Self {
        self.unary(f32::round_ties_even, |_, _| 0.)
    }

    /// The next whole number below.
    pub fn floor(self) -> Self {
        self.unary(f32::floor, |_, _| 0.)
    }

    /// The next whole number above.
    pub fn ceil(self) -> Self {
        self.unary(f32::ceil, |_, _| 0.)
    }

    /// −1, 0 or 1.
    pub fn sign(self) -> Self {
        self.unary(|x| if x == 0. { 0. } else { x.signum() }, |_, _| 0.)
    }

    /// Sines.
    pub fn sin(self) -> Self {
        self.unary(f32::sin, |x, _| x.cos())
    }

    /// Cosines.
    pub fn cos(self) -> Self {
        self.unary(f32::cos, |x, _| -x.sin())
    }

    /// Tangents.
    pub fn tan(self) -> Self {
        self.unary(f32::tan, |_, y| 1. + y * y)
    }

    /// Arcsines.
    pub fn asin(self) -> Self {
        self.unary(f32::asin, |x, _| 1. / (1. - x * x).sqrt())
    }

    /// Arccosines.
    pub fn acos(self) -> Self {
        self.unary(f32::acos, |x, _| -1. / (1. - x * x).sqrt())
    }

    /// Arctangents.
    pub fn atan(self) -> Self {
        self.unary(f32::atan, |x, _| 1. / (1. + x * x))
    }

    /// Hyperbolic sines.
    pub fn sinh(self) -> Self {
        self.unary(f32::sinh, |x, _| x.cosh())
    }

    /// Hyperbolic cosines.
    pub fn cosh(self) -> Self {
        self.unary(f32::cosh, |x, _| x.sinh())
    }

    /// What hyperbolic sines are of.
    pub fn asinh(self) -> Self {
        self.unary(f32::asinh, |x, _| 1. / (x * x + 1.).sqrt())
    }

    /// What hyperbolic cosines are of.
    pub fn acosh(self) -> Self {
        self.unary(f32::acosh, |x, _| 1. / (x * x - 1.).sqrt())
    }

    /// What hyperbolic tangents are of.
    pub fn atanh(self) -> Self {
        self.unary(f32::atanh, |x, _| 1. / (1. - x * x))
    }

    /// Nothing below `low`.
    pub fn clamp_min(self, low: f32) -> Self {
        self.unary(move |x| if x < low { low } else { x }, move |x, _| f32::from(x >= low))
    }

    /// Nothing above `high`.
    pub fn clamp_max(self, high: f32) -> Self {
        self.unary(move |x| if x > high { high } else { x }, move |x, _| f32::from(x <= high))
    }

    /// To `low..=high`.
    pub fn clamp(self, low: f32, high: f32) -> Self {
        let clamped = move |x: f32| {
            let x = if x < low { low } else { x };
            if x > high { high } else { x }
        };
        self.unary(clamped, move |x, _| f32::from(low <= x && x <= high))
    }

    /// 1 where it is greater, else 0.
    pub fn greater_elem(self, number: f32) -> Self {
        self.unary(move |x| f32::from(x > number), |_, _| 0.)
    }

    /// 1 where it is this number, else 0.
    pub fn equal_elem(self, number: f32) -> Self {
        self.unary(move |x| f32::from(x == number), |_, _| 0.)
    }

    /// Itself: there is one type of numbers.
    pub fn float(self) -> Self {
        self
    }

    /// Sums along an axis, which keeps size one.
    pub fn sum_dim(self, axis: usize) -> Self {
        let (outer, size, inner) = self.around(axis);
        let mut values = vec![0.; outer * inner];
        for (sums, block) in values.chunks_exact_mut(inner).zip(self.values.chunks_exact(size * inner)) {
            if inner == 1 {
                sums[0] = kernels::sum(block);
            } else {
                for row in block.chunks_exact(inner) {
                    kernels::add_scaled(sums, row, 1.);
                }
            }
        }
        let origin = self.origin(|| {
            Box::new(move |gradient| {
                gradient.chunks_exact(inner).flat_map(|row| (0..size).flat_map(move |_| row)).copied().collect()
            })
        });
        let mut shape = self.shape;
        shape[axis] = 1;
        Tensor::computed(shape, values, origin.into_iter().collect())
    }

    /// Means along an axis, which keeps size one.
    pub fn mean_dim(self, axis: usize) -> Self {
        let size = self.shape[axis];
        self.sum_dim(axis).mul_scalar(1. / size as f32)
    }

    /// The sum of all.
    pub fn sum(self) -> Tensor<1> {
        let numbers = self.values.len();
        let origin = self.origin(|| Box::new(move |gradient| vec![gradient[0]; numbers]));
        Tensor::computed([1], vec![kernels::sum(&self.values)], origin.into_iter().collect())
    }

    /// The least of all.
    pub fn min(self) -> Tensor<1> {
        let numbers = self.values.len();
        self.reshape([numbers]).min_dim(0)
    }

    /// The numbers of the axes before, along and after one.
    pub(super) fn around(&self, axis: usize) -> (usize, usize, usize) {
        (self.shape[..axis].iter().product(), self.shape[axis], self.shape[axis + 1..].iter().product())
    }
}

/// Functions that networks name.
pub mod activation {
    use super::Tensor;

    /// max(x, 0).
    pub fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        // Not a number stays one.
        x.unary(|x| if x > 0. || x.is_nan() { x } else { 0. }, |x, _| f32::from(x > 0.))
    }

    /// 1 / (1 + exp(−x)).
    pub fn sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        x.unary(|x| 1. / (1. + (-x).exp()), |_, y| y * (1. - y))
    }

    /// alpha·(exp(x) − 1) below zero.
    pub fn elu<const D: usize>(x: Tensor<D>, alpha: f64) -> Tensor<D> {
        let alpha = alpha as f32;
        x.unary(move |x| if x > 0. { x } else { alpha * x.exp_m1() }, move |x, y| if x > 0. { 1. } else { y + alpha })
    }

    /// x times the share of a normal distribution below it.
    pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        let half = x.clone().mul_scalar(0.5);
        half.mul(x.mul_scalar(std::f32::consts::FRAC_1_SQRT_2).erf().add_scalar(1.))
    }

    /// The same by a hyperbolic tangent.
    pub fn gelu_approximate<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        let cubic = x.clone().mul(x.clone()).mul(x.clone()).mul_scalar(0.044715).add(x.clone());
        let inner = cubic.mul_scalar((2. / std::f32::consts::PI).sqrt());
        x.mul_scalar(0.5).mul(inner.tanh().add_scalar(1.))
    }

    /// ln(1 + exp(beta·x)) / beta.
    pub fn softplus<const D: usize>(x: Tensor<D>, beta: f64) -> Tensor<D> {
        let beta = beta as f32;
        x.unary(
            move |x| ((beta * x).max(0.) + (-(beta * x).abs()).exp().ln_1p()) / beta,
            move |x, _| 1. / (1. + (-beta * x).exp()),
        )
    }

    /// exp(x) / Σ exp(x) along an axis.
    pub fn softmax<const D: usize>(x: Tensor<D>, axis: usize) -> Tensor<D> {
        let greatest = x.clone().detach().max_dim(axis);
        let powers = x.sub(greatest).exp();
        powers.clone().div(powers.sum_dim(axis))
    }

    /// Its logarithm.
    pub fn log_softmax<const D: usize>(x: Tensor<D>, axis: usize) -> Tensor<D> {
        let greatest = x.clone().detach().max_dim(axis);
        let below = x.sub(greatest);
        below.clone().sub(below.exp().sum_dim(axis).log())
    }
}
