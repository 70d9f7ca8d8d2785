#include "common.inc"
#include "outdoor.inc"
Shot(<-2.0, 2.3, -23>, <0.0, 4.6, 0>, 44, 640/440, 0)
Sky(<0.22, 0.42, 0.72>, <0.68, 0.77, 0.86>, 0.55)
Lamp(<-500, 420, -450>, <0.98, 0.9, 0.76>, 14)
Ground(plane { y, 0 }, Lawn(<0.20, 0.30, 0.05>))
Grass(-13, -17, 12, -3, 1.0, 0.26, <0.22, 0.33, 0.06>)
Prop(union {
  #declare I = 0;
  #while (I < 12)
    object { Bush(I, <0.09, 0.18, 0.04>) scale <3.2, 2.0 + mod(I*7, 5)*0.35, 3> translate <-40 + I*7.5, 1.0, 26 + mod(I*5, 7)> }
    #declare I = I + 1;
  #end
})
Known(1, object { Barn(<0.44, 0.045, 0.03>) scale 1.05 rotate y*-24 translate <-4.9, 0, 1> })
Known(2, object { Water_Tower(<0.60, 0.66, 0.70>) scale 0.95 translate <5.6, 0, 2> })
