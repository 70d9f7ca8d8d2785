#include "common.inc"
#include "outdoor.inc"
Shot(<-2.6, 1.35, -4.4>, <0.1, 0.72, 0>, 46, 640/420, 0)
Sky(<0.25, 0.45, 0.75>, <0.72, 0.80, 0.87>, 0.5)
Lamp(<-400, 520, -500>, <0.95, 0.9, 0.8>, 14)
Ground(plane { y, 0 }, Lawn(<0.20, 0.32, 0.05>))
Grass(-5, -4.5, 7, -0.2, 0.6, 0.13, <0.22, 0.36, 0.06>)
Prop(union {
  #declare I = 0;
  #while (I < 9)
    object { Bush(I + 3, <0.10, 0.24, 0.05>) scale <1.3, 0.9 + mod(I*3, 4)*0.22, 1.0> translate <-7 + I*2.1, 0.7, 2.6 + mod(I*5, 3)*0.6> }
    #declare I = I + 1;
  #end
})
Known(1, object { Picket_Fence(-7, 9) })
