//! Four numbers at once: by the instructions of WebAssembly or x86-64, one by one where there are none.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod lanes {
    use core::arch::wasm32::*;

    pub(super) type Lanes = v128;

    #[inline(always)]
    pub(super) fn splat(value: f32) -> Lanes {
        f32x4_splat(value)
    }

    #[inline(always)]
    pub(super) unsafe fn splat_at(from: *const f32) -> Lanes {
        // SAFETY: as the caller promises.
        unsafe { v128_load32_splat(from.cast()) }
    }

    #[inline(always)]
    pub(super) unsafe fn load(from: *const f32) -> Lanes {
        // SAFETY: as the caller promises.
        unsafe { v128_load(from.cast()) }
    }

    #[inline(always)]
    pub(super) unsafe fn store(lanes: Lanes, to: *mut f32) {
        // SAFETY: as the caller promises.
        unsafe { v128_store(to.cast(), lanes) }
    }

    #[inline(always)]
    pub(super) fn add(a: Lanes, b: Lanes) -> Lanes {
        f32x4_add(a, b)
    }

    #[inline(always)]
    pub(super) fn sub(a: Lanes, b: Lanes) -> Lanes {
        f32x4_sub(a, b)
    }

    #[inline(always)]
    pub(super) fn mul(a: Lanes, b: Lanes) -> Lanes {
        f32x4_mul(a, b)
    }

    #[inline(always)]
    pub(super) fn add_product(sum: Lanes, a: Lanes, b: Lanes) -> Lanes {
        #[cfg(target_feature = "relaxed-simd")]
        return f32x4_relaxed_madd(a, b, sum);
        #[cfg(not(target_feature = "relaxed-simd"))]
        add(sum, mul(a, b))
    }

    // `pmax` and `pmin` are one instruction on x86, `max` and `min` several.
    #[inline(always)]
    pub(super) fn max(a: Lanes, b: Lanes) -> Lanes {
        f32x4_pmax(b, a)
    }

    #[inline(always)]
    pub(super) fn min(a: Lanes, b: Lanes) -> Lanes {
        f32x4_pmin(b, a)
    }

    #[inline(always)]
    pub(super) fn if_greater(a: Lanes, b: Lanes, then: Lanes, other: Lanes) -> Lanes {
        v128_bitselect(then, other, f32x4_gt(a, b))
    }

    #[inline(always)]
    pub(super) fn interleaved(a: Lanes, b: Lanes, c: Lanes) -> [Lanes; 3] {
        let ab = i32x4_shuffle::<0, 4, 1, 5>(a, b);
        let bc = i32x4_shuffle::<1, 5, 2, 6>(b, c);
        let ca = i32x4_shuffle::<2, 7, 3, 3>(c, a);
        [i32x4_shuffle::<0, 1, 4, 2>(ab, c), i32x4_shuffle::<0, 1, 6, 2>(bc, a), i32x4_shuffle::<0, 1, 7, 2>(ca, b)]
    }
}

#[cfg(target_arch = "x86_64")]
mod lanes {
    use core::arch::x86_64::*;

    pub(super) type Lanes = __m128;

    #[inline(always)]
    pub(super) fn splat(value: f32) -> Lanes {
        // SAFETY: every x86-64 has SSE.
        unsafe { _mm_set1_ps(value) }
    }

    #[inline(always)]
    pub(super) unsafe fn splat_at(from: *const f32) -> Lanes {
        // SAFETY: as the caller promises.
        unsafe { _mm_load1_ps(from) }
    }

    #[inline(always)]
    pub(super) unsafe fn load(from: *const f32) -> Lanes {
        // SAFETY: as the caller promises.
        unsafe { _mm_loadu_ps(from) }
    }

    #[inline(always)]
    pub(super) unsafe fn store(lanes: Lanes, to: *mut f32) {
        // SAFETY: as the caller promises.
        unsafe { _mm_storeu_ps(to, lanes) }
    }

    #[inline(always)]
    pub(super) fn add(a: Lanes, b: Lanes) -> Lanes {
        // SAFETY: every x86-64 has SSE.
        unsafe { _mm_add_ps(a, b) }
    }

    #[inline(always)]
    pub(super) fn sub(a: Lanes, b: Lanes) -> Lanes {
        // SAFETY: every x86-64 has SSE.
        unsafe { _mm_sub_ps(a, b) }
    }

    #[inline(always)]
    pub(super) fn mul(a: Lanes, b: Lanes) -> Lanes {
        // SAFETY: every x86-64 has SSE.
        unsafe { _mm_mul_ps(a, b) }
    }

    #[inline(always)]
    pub(super) fn add_product(sum: Lanes, a: Lanes, b: Lanes) -> Lanes {
        add(sum, mul(a, b))
    }

    #[inline(always)]
    pub(super) fn max(a: Lanes, b: Lanes) -> Lanes {
        // SAFETY: every x86-64 has SSE.
        unsafe { _mm_max_ps(a, b) }
    }

    #[inline(always)]
    pub(super) fn min(a: Lanes, b: Lanes) -> Lanes {
        // SAFETY: every x86-64 has SSE.
        unsafe { _mm_min_ps(a, b) }
    }

    #[inline(always)]
    pub(super) fn if_greater(a: Lanes, b: Lanes, then: Lanes, other: Lanes) -> Lanes {
        // SAFETY: every x86-64 has SSE.
        unsafe {
            let mask = _mm_cmpgt_ps(a, b);
            _mm_or_ps(_mm_and_ps(mask, then), _mm_andnot_ps(mask, other))
        }
    }
}

#[cfg(not(any(all(target_arch = "wasm32", target_feature = "simd128"), target_arch = "x86_64")))]
mod lanes {
    pub(super) type Lanes = [f32; 4];

    #[inline(always)]
    pub(super) fn splat(value: f32) -> Lanes {
        [value; 4]
    }

    #[inline(always)]
    pub(super) unsafe fn splat_at(from: *const f32) -> Lanes {
        // SAFETY: as the caller promises.
        [unsafe { *from }; 4]
    }

    #[inline(always)]
    pub(super) unsafe fn load(from: *const f32) -> Lanes {
        // SAFETY: as the caller promises.
        unsafe { from.cast::<Lanes>().read_unaligned() }
    }

    #[inline(always)]
    pub(super) unsafe fn store(lanes: Lanes, to: *mut f32) {
        // SAFETY: as the caller promises.
        unsafe { to.cast::<Lanes>().write_unaligned(lanes) }
    }

    #[inline(always)]
    fn each(a: Lanes, b: Lanes, f: impl Fn(f32, f32) -> f32) -> Lanes {
        std::array::from_fn(|lane| f(a[lane], b[lane]))
    }

    #[inline(always)]
    pub(super) fn add(a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a + b)
    }

    #[inline(always)]
    pub(super) fn sub(a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a - b)
    }

    #[inline(always)]
    pub(super) fn mul(a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a * b)
    }

    #[inline(always)]
    pub(super) fn add_product(sum: Lanes, a: Lanes, b: Lanes) -> Lanes {
        add(sum, mul(a, b))
    }

    #[inline(always)]
    pub(super) fn max(a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    pub(super) fn min(a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    pub(super) fn if_greater(a: Lanes, b: Lanes, then: Lanes, other: Lanes) -> Lanes {
        std::array::from_fn(|i| if a[i] > b[i] { then[i] } else { other[i] })
    }
}

/// Four numbers.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct F32x4(lanes::Lanes);

impl F32x4 {
    #[inline(always)]
    pub fn splat(value: f32) -> F32x4 {
        F32x4(lanes::splat(value))
    }

    /// One number from memory, four times.
    ///
    /// # Safety
    /// A number must be readable there.
    #[inline(always)]
    pub unsafe fn splat_at(from: *const f32) -> F32x4 {
        // SAFETY: as the caller promises.
        F32x4(unsafe { lanes::splat_at(from) })
    }

    /// # Safety
    /// Four numbers must be readable there, at any alignment.
    #[inline(always)]
    pub unsafe fn load(from: *const f32) -> F32x4 {
        // SAFETY: as the caller promises.
        F32x4(unsafe { lanes::load(from) })
    }

    /// # Safety
    /// Four numbers must be writable there, at any alignment.
    #[inline(always)]
    pub unsafe fn store(self, to: *mut f32) {
        // SAFETY: as the caller promises.
        unsafe { lanes::store(self.0, to) }
    }

    /// Plus the product of each two others, rounded once where there is an instruction for it, else twice.
    #[inline(always)]
    pub fn plus(self, a: F32x4, b: F32x4) -> F32x4 {
        F32x4(lanes::add_product(self.0, a.0, b.0))
    }

    /// The greater of each two; `other` where either is no number.
    #[inline(always)]
    pub fn max(self, other: F32x4) -> F32x4 {
        F32x4(lanes::max(self.0, other.0))
    }

    /// The lesser of each two; `other` where either is no number.
    #[inline(always)]
    pub fn min(self, other: F32x4) -> F32x4 {
        F32x4(lanes::min(self.0, other.0))
    }

    /// Of each two `then` where `self` is greater than `limit`, else `other`.
    #[inline(always)]
    pub fn if_greater(self, limit: F32x4, then: F32x4, other: F32x4) -> F32x4 {
        F32x4(lanes::if_greater(self.0, limit.0, then.0, other.0))
    }

    /// One number of each in turn, instead of four.
    #[inline(always)]
    pub fn interleaved(a: F32x4, b: F32x4, c: F32x4) -> [F32x4; 3] {
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        return lanes::interleaved(a.0, b.0, c.0).map(F32x4);
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        {
            let (mut four, mut three) = ([0.; 12], [0.; 12]);
            // SAFETY: both arrays have room for twelve.
            unsafe {
                [a, b, c].into_iter().enumerate().for_each(|(row, x)| x.store(four.as_mut_ptr().add(4 * row)));
                (0..12).for_each(|i| three[i] = four[i % 3 * 4 + i / 3]);
                [0, 4, 8].map(|at| F32x4::load(three.as_ptr().add(at)))
            }
        }
    }

    /// `f` of each.
    #[inline(always)]
    pub fn each(self, f: impl Fn(f32) -> f32) -> F32x4 {
        let mut values = [0.; 4];
        // SAFETY: the array has room for four.
        unsafe {
            self.store(values.as_mut_ptr());
            values = values.map(f);
            F32x4::load(values.as_ptr())
        }
    }
}

impl std::ops::Add for F32x4 {
    type Output = F32x4;

    #[inline(always)]
    fn add(self, other: F32x4) -> F32x4 {
        F32x4(lanes::add(self.0, other.0))
    }
}

impl std::ops::Sub for F32x4 {
    type Output = F32x4;

    #[inline(always)]
    fn sub(self, other: F32x4) -> F32x4 {
        F32x4(lanes::sub(self.0, other.0))
    }
}

impl std::ops::Mul for F32x4 {
    type Output = F32x4;

    #[inline(always)]
    fn mul(self, other: F32x4) -> F32x4 {
        F32x4(lanes::mul(self.0, other.0))
    }
}
