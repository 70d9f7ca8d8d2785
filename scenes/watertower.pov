#include "common.inc"
#include "outdoor.inc"
Shot(<-6, 1.7, -21>, <0.05, 6.3, 0>, 35, 460/600, 0)
Sky(<0.20, 0.40, 0.74>, <0.70, 0.80, 0.88>, 0.45)
Lamp(<-500, 420, -350>, <1.0, 0.92, 0.78>, 14)
Ground(plane { y, 0 }, Lawn(<0.20, 0.30, 0.06>))
Prop(union {
  #declare I = 0;
  #while (I < 16)
    object { Bush(I + 3, <0.08, 0.18, 0.04>) scale <2.8, 1.6 + mod(I*3, 4)*0.5, 2> translate <-30 + I*4, 1.0, 18 + mod(I*5, 3)*2> }
    #declare I = I + 1;
  #end
})
Known(1, object { Water_Tower(<0.55, 0.62, 0.66>) rotate y*12 })
