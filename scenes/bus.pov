#include "common.inc"
#include "outdoor.inc"
Shot(<-8.6, 2.3, -11.5>, <-0.25, 1.6, 0>, 44, 640/420, 0)
Sky(<0.25, 0.45, 0.75>, <0.72, 0.80, 0.87>, 0.5)
Lamp(<-400, 520, -500>, <0.95, 0.9, 0.8>, 14)
Ground(plane { y, 0 }, Asphalt())
Prop(union {
  box { <-60, -0.1, 3.2>, <60, 0.16, 60> Lawn(<0.20, 0.30, 0.05>) }
  box { <-60, -0.1, 2.9>, <60, 0.18, 3.2> Matt(0.5) }
  box { <-60, -0.1, -2.75>, <60, 0.004, -2.6> Matt(<0.75, 0.6, 0.1>) }
  #declare I = 0;
  #while (I < 10)
    object { Bush(I + 30, <0.09, 0.20, 0.04>) scale <2.6, 2.6 + mod(I*7, 5)*0.4, 2.4> translate <-26 + I*6.1, 2.4, 14 + mod(I*5, 7)> }
    cylinder { <-26 + I*6.1, 0, 14 + mod(I*5, 7)>, <-26 + I*6.1, 2, 14 + mod(I*5, 7)>, 0.25 Matt(<0.15, 0.09, 0.05>) }
    #declare I = I + 1;
  #end
})
Known(1, object { School_Bus() })
