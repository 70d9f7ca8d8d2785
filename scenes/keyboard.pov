#include "common.inc"
#include "table.inc"
Shot(<-1.4, 4.2, -4.6>, <0, 0.1, -0.05>, 48, 640/400, 0)
Room(<0.62, 0.60, 0.58>, <9, 9, 9.4>)
Lamp(<-5, 8, 3>, <1.3, 1.26, 1.2>, 2.2)
Boards(2.2, 9, 26, Pale_Grain, 14)
Known(1, object { Keyboard(Matt(<0.12, 0.12, 0.13>), texture { pigment { rgb 0.05 } finish { diffuse 0.8 specular 0.3 roughness 0.04 } }, Matt(0.85)) rotate y*9 })
