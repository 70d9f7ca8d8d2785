#include "common.inc"
#include "table.inc"
Shot(<-0.4, 6.6, -6.6>, <0.1, 0.35, 0.0>, 42, 640/520, 0)
Room(<0.55, 0.52, 0.50>, <9, 9, 9.4>)
Lamp(<-5, 8, 3>, <1.25, 1.2, 1.12>, 2.2)
Boards(2.2, 11, 26, Grain, 14)
Known(1, object { Espresso(Gloss(<0.80, 0.80, 0.78>)) scale 1.6 rotate y*-40 translate <0.9, 0, 1.5> })
Known(2, object { Keyboard(Matt(<0.12, 0.12, 0.13>), texture { pigment { rgb 0.05 } finish { diffuse 0.8 specular 0.3 roughness 0.04 } }, Matt(0.85)) rotate y*6 translate <-0.1, 0, -1.5> })
