#include "common.inc"
#include "outdoor.inc"
Shot(<-8.5, 2.2, -16.5>, <0.4, 2.9, 0>, 42, 640/440, 0)
Sky(<0.22, 0.42, 0.72>, <0.68, 0.77, 0.86>, 0.6)
Lamp(<-500, 420, -350>, <0.98, 0.9, 0.76>, 14)
Ground(plane { y, 0 }, Lawn(<0.20, 0.30, 0.05>))
Grass(-11, -13.5, 12, 4, 1.0, 0.30, <0.22, 0.33, 0.06>)
Prop(union {
  #declare I = 0;
  #while (I < 12)
    object { Bush(I, <0.10, 0.20, 0.04>) scale <3.2, 2.2 + mod(I*7, 5)*0.35, 3> translate <-40 + I*7.5, 1.0, 30 + mod(I*5, 7)> }
    #declare I = I + 1;
  #end
})
Known(1, object { Barn(<0.44, 0.045, 0.03>) rotate y*-6 })
