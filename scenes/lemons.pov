#include "common.inc"
#include "table.inc"
Shot(<0.4, 3.0, -5.2>, <0.1, 0.42, 0>, 32, 640/440, 0.10)
Room(<0.62, 0.56, 0.48>, <9, 9, 9.4>)
Lamp(<-6, 7, 1>, <1.35, 1.3, 1.2>, 2.2)
Boards(1.1, 8, 26, Grain, 3)
Known(1, union {
  object { Lemon(1) rotate <90, 0, 0> rotate y*35 scale <1, 1, 1> translate <-0.75, 0.47, 0.35> }
  object { Lemon(2) rotate <78, 0, 0> rotate y*-62 translate <0.42, 0.47, 0.75> }
  object { Cut_Citrus(
      texture { pigment { rgb <0.95, 0.74, 0.06> } normal { bumps 0.3 scale 0.03 } finish { specular 0.3 } },
      <0.93, 0.80, 0.25>, <0.96, 0.93, 0.78>)
    scale 0.5 rotate <-62, 20, 0> translate <0.25, 0.36, -0.55> }
})
