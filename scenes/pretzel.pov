#include "common.inc"
#include "table.inc"
Shot(<0.2, 4.3, -3.1>, <0, 0.12, 0.02>, 34, 560/480, 0)
Room(<0.62, 0.57, 0.50>, <8, 8, 8>)
Lamp(<-4, 6, 2>, <1.35, 1.28, 1.15>, 1.8)
Boards(0.9, 8, 26, Pale_Grain, 2)
Known(1, object { Pretzel(4) rotate y*8 })
