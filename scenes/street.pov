#include "common.inc"
#include "outdoor.inc"
Shot(<-7.8, 1.9, -13.5>, <0.2, 3.4, 0>, 46, 640/480, 0)
Sky(<0.22, 0.43, 0.75>, <0.72, 0.80, 0.87>, 0.5)
Lamp(<-400, 520, -500>, <0.95, 0.9, 0.8>, 14)
Ground(plane { y, 0 }, Asphalt())
Prop(union {
  box { <-60, -0.1, 3.2>, <60, 0.16, 60> Lawn(<0.20, 0.30, 0.05>) }
  box { <-60, -0.1, 2.9>, <60, 0.18, 3.2> Matt(0.5) }
  box { <-60, -0.1, -2.75>, <60, 0.004, -2.6> Matt(<0.75, 0.6, 0.1>) }
  #declare I = 0;
  #while (I < 12)
    object { Bush(I + 30, <0.09, 0.20, 0.04>) scale <2.8, 1.5 + mod(I*7, 5)*0.3, 2.4> translate <-26 + I*6.1, 1.4, 22 + mod(I*5, 7)> }
    #declare I = I + 1;
  #end
})
Known(1, object { School_Bus() translate <-1.0, 0, 0> })
Known(2, object { Water_Tower(<0.60, 0.66, 0.70>) scale 1.05 translate <9.3, 0, 10> })
