#include "common.inc"
#include "outdoor.inc"
Shot(<-1.5, 2.1, -8.4>, <0.2, 2.1, 0>, 48, 640/440, 0)
Sky(<0.22, 0.42, 0.72>, <0.68, 0.77, 0.86>, 0.55)
Lamp(<-500, 420, -350>, <0.98, 0.9, 0.76>, 14)
Ground(plane { y, 0 }, Lawn(<0.20, 0.30, 0.05>))
Grass(-6, -6.5, 7, -0.3, 0.8, 0.16, <0.22, 0.34, 0.06>)
Prop(union {
  #declare I = 0;
  #while (I < 12)
    object { Bush(I, <0.09, 0.18, 0.04>) scale <3.2, 2.2 + mod(I*7, 5)*0.35, 3> translate <-40 + I*7.5, 1.0, 36 + mod(I*5, 7)> }
    #declare I = I + 1;
  #end
})
Known(1, object { Picket_Fence(-8, 10) scale 1.05 rotate y*3 })
Known(2, object { Barn(<0.44, 0.045, 0.03>) rotate y*-22 translate <0.9, 0, 13.5> })
