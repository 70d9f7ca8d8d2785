#include "common.inc"
#include "outdoor.inc"
Shot(<-0.4, 1.15, -4.3>, <0.1, 0.62, 0>, 27, 500/600, 0)
Sky(<0.35, 0.42, 0.30>, <0.55, 0.62, 0.42>, 0)
Lamp(<-5, 9, -6>, <1.7, 1.6, 1.3>, 2.5)
Ground(plane { y, 0 }, Lawn(<0.16, 0.17, 0.04>))
Grass(-2.4, -3.2, 2.6, 4, 0.5, 0.16, <0.14, 0.26, 0.05>)
Prop(union {
  #declare I = 0;
  #while (I < 9)
    object { Bush(I + 3, <0.10, 0.2, 0.04>) scale <2, 2.2 + mod(I*3, 4)*0.4, 1.0> translate <-8 + I*2.1, 1.2, 7 + mod(I*5, 3)> }
    #declare I = I + 1;
  #end
})
Known(1, union {
  object { Mushroom(<0.42, 0.20, 0.075>, 1) }
  object { Mushroom(<0.40, 0.18, 0.07>, 2) scale 0.72 rotate z*-9 translate <0.72, 0, 0.35> }
  object { Mushroom(<0.44, 0.22, 0.09>, 3) scale 0.5 rotate z*10 translate <-0.58, 0, -0.25> }
})
