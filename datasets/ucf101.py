"""UCF101: human actions, the middle frame of each video, 101 classes."""

import re

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset, Entry, Labels, Split, hold_out_val, read_lines


@DATASET_REGISTRY.register()
class UCF101(CoOpDataset):
    """Soomro et al., UCF101: a dataset of 101 human action classes from videos in the wild."""

    def make_split(self) -> Split:
        """Rule B over the first official split."""
        return hold_out_val(self._entries("trainlist01.txt"), self._entries("testlist01.txt"))

    def _entries(self, file: str) -> list[Entry]:
        actions = self.image_dir.parent / "ucfTrainTestlist" / "classInd.txt"
        labels = Labels(actions, (action for _, action in read_lines(actions, fields=2)))
        entries = []
        for (line,) in read_lines(actions.with_name(file)):
            # "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1"; the number is absent in the test list. The name of
            # the video is taken as it is: in one class it is spelled otherwise than the folder.
            action, _, video = line.split()[0].partition("/")
            name = "_".join(re.findall("[A-Z][^A-Z]*", action))
            entries.append(Entry(f"{name}/{video.removesuffix('.avi')}.jpg", labels[action], name))
        return entries
