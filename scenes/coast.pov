#include "common.inc"
#include "outdoor.inc"
Shot(<1.0, 1.75, -7.2>, <0.2, 2.0, 0>, 46, 560/600, 0)
Sky(<0.20, 0.40, 0.72>, <0.66, 0.76, 0.86>, 0.55)
Lamp(<-300, 420, -500>, <0.95, 0.88, 0.76>, 14)
Ground(plane { y, 0 }, Lawn(<0.20, 0.30, 0.06>))
Grass(-5, -5.5, 6, -0.2, 0.6, 0.14, <0.22, 0.34, 0.06>)
Grass(-6, 0.6, 8, 7, 1.0, 0.20, <0.22, 0.34, 0.06>)
Known(1, object { Picket_Fence(-7, 9) rotate y*7 })
Known(2, object { Lighthouse(<0.62, 0.05, 0.035>) scale 0.62 translate <-1.1, 0, 7.5> })
