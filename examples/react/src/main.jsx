import "gradcam-web";
import { useState } from "react";
import { createRoot } from "react-dom/client";

function Figure() {
  const [said, setSaid] = useState("…");
  // React 19 sets properties and listens to a custom element's own events.
  const onexplain = ({ detail }) => setSaid(detail.prediction.model.labels[detail.targetClass]);
  return (
    <figure>
      <grad-cam controls onexplain={onexplain}>
        <img src="cat.jpg" alt="A cat on a sofa" width="480" />
      </grad-cam>
      <figcaption>The network says: {said}</figcaption>
    </figure>
  );
}

createRoot(document.getElementById("root")).render(<Figure />);
