#include "common.inc"
#include "table.inc"
Shot(<-0.3, 3.3, -7.2>, <0.05, 0.75, 0>, 34, 640/440, 0)
Room(<0.55, 0.58, 0.62>, <9, 9, 9.4>)
Lamp(<6, 8, -2>, <1.35, 1.3, 1.2>, 2.4)
Boards(1.7, 12, 34, Pale_Grain, 5)
Known(1, union {
  object { Orange(1) translate <-1.05, 0.94, 0.4> }
  object { Orange(2) rotate z*30 translate <0.95, 0.94, 0.95> }
  object { Cut_Citrus(Rind_Orange, <0.88, 0.29, 0.02>, <0.92, 0.74, 0.50>) scale 0.96 rotate <-66, -14, 0> translate <0.62, 0.72, -1.1> }
})
