#include "common.inc"
#include "table.inc"
Shot(<0.3, 4.9, -4.9>, <0, 0.3, 0.05>, 50, 640/427, 0)
Room(<0.58, 0.54, 0.50>, <9, 9, 9.4>)
Lamp(<-5, 7, 3>, <1.25, 1.2, 1.1>, 2.2)
Boards(1.1, 9, 26, Grain, 43)
Known(1, object { Pretzel(4) rotate y*10 translate <1.6, 0, 0.05> })
Known(2, object { Espresso(Gloss(<0.80, 0.80, 0.78>)) rotate y*215 translate <-1.65, 0, 0.15> })
