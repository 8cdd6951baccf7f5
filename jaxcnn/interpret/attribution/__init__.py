"""Where a score comes from: gradients, integrated gradients, occlusion, activations, Grad-CAM."""
