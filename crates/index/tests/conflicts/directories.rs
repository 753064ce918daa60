//! Both change directories.

crate::rows! {
    mkdir_and_mkdir: ""; "mkdir d; create d/f one" | "mkdir d; create d/g two"
        => ["d/", "d/f = one", "d/g = two"];
        "Directories made apart under one name are one.";
    mkdir_and_rename_to_its_name: "mkdir e; create e/g two"; "mkdir d; create d/f one" | "rename e d"
        => ["d/", "d/f = one", "d/g = two"];
        "Directories under one name are shown as one.";
    mkdir_and_mkdir_with_one_file: ""; "mkdir d; create d/f one" | "mkdir d; create d/f two"
        => ["d/", "d/f (conflict)* = one", "d/f = two"];
        "The directory is one; in it two files want one name.";
    rename_and_rename_of_directories_to_one_name: "mkdir d; create d/f one; mkdir e; create e/f two";
        "rename d x" | "rename e x"
        => ["x/", "x/f (conflict)* = one", "x/f = two"];
        "The directories are shown as one; of two files in it the identity decides, for all.";
    nested_directories_become_one: "mkdir d; mkdir d/s; create d/s/f one; mkdir e; mkdir e/s";
        "rename d x" | "create e/s/g two; rename e x"
        => ["x/", "x/s/", "x/s/f = one", "x/s/g = two"];
        "Directories under one name are shown as one, all the way down.";
    rename_and_rename_of_a_directory: "mkdir d; create d/f old"; "rename d e" | "rename d g"
        => ["g/", "g/f = old"];
        "One place wins, the later one, with all that is in it.";
    rename_and_move_of_a_directory: "mkdir d; create d/f old; mkdir p";
        "rename d e" | "move d p/d"
        => ["p/", "p/d/", "p/d/f = old"];
        "A place is name and directory in one: the later one wins whole.";
    rename_and_delete_of_a_directory: "mkdir d; create d/f old"; "rename d e" | "delete d"
        => ["e/", "e/f = old"];
        "The directory is used: the delete is void as a whole.";
    move_and_delete_of_a_directory: "mkdir d; create d/f old; mkdir p"; "move d p/d" | "delete d"
        => ["p/", "p/d/", "p/d/f = old"];
        "The directory is used: the delete is void as a whole.";
    move_and_move_of_a_directory: "mkdir d; create d/f old; mkdir p; mkdir q";
        "move d p/d" | "move d q/d"
        => ["p/", "q/", "q/d/", "q/d/f = old"];
        "One place wins, the later one, with all that is in it.";
    move_into_each_other: "mkdir d; create d/f one; mkdir e; create e/g two";
        "move d e/d" | "move e d/e"
        => ["e/", "e/d/", "e/d/f = one", "e/g = two"];
        "Of the circle the later move is shown where it came from.";
    move_into_each_other_in_three: "mkdir a; mkdir b; mkdir c; create c/f old";
        "move a b/a" | "move b c/b; move c a/c"
        => ["c/", "c/b/", "c/b/a/", "c/f = old"];
        "Of the circle the latest move, the second of the other's, is shown where it came from.";
    delete_and_delete_of_a_directory: "mkdir d; create d/f old"; "delete d" | "delete d"
        => [];
        "Both wanted the same.";
    delete_and_chmod_of_a_directory: "mkdir d; create d/f old"; "delete d" | "chmod d 700"
        => [];
        "A mode is no content: nothing is lost with it.";
    delete_of_parent_and_delete_of_child: "mkdir d; mkdir d/s; create d/s/f old";
        "delete d" | "delete d/s"
        => [];
        "Both wanted the child gone, and one its parent.";
    delete_of_parent_and_rename_of_child: "mkdir d; mkdir d/s; create d/s/f old; create d/g old";
        "delete d" | "rename d/s d/t"
        => ["d/", "d/t/", "d/t/f = old"];
        "The child was moved by someone who did not know: it survives with all that is in it.";
    delete_of_parent_and_move_of_child: "mkdir d; mkdir d/s; create d/s/f old"; "delete d" | "move d/s s"
        => ["s/", "s/f = old"];
        "What was moved out is not in the directory any more.";
    delete_of_parent_and_mkdir_in_it: "mkdir d; create d/g old"; "delete d" | "mkdir d/s"
        => ["d/", "d/s/"];
        "What the delete has not seen stays, and keeps its directory.";
    delete_of_parent_and_chmod_of_child: "mkdir d; mkdir d/s; create d/s/f old"; "delete d" | "chmod d/s 700"
        => [];
        "A mode is no content: nothing is lost with it.";
    delete_of_grandparent_and_edit: "mkdir d; mkdir d/s; create d/s/f old; create d/s/g old";
        "delete d" | "edit d/s/f new"
        => ["d/", "d/s/", "d/s/f = new"];
        "All directories on the way to the edited file are kept, nothing beside it.";
    chmod_and_chmod_of_a_directory: "mkdir d"; "chmod d 700" | "chmod d 750"
        => ["d/ [750]"];
        "The last writer of a mode wins.";
    chmod_and_rename_of_a_directory: "mkdir d"; "chmod d 700" | "rename d e"
        => ["e/ [700]"];
        "Place and mode are apart.";
    chmod_and_move_of_a_directory: "mkdir d; mkdir p"; "chmod d 700" | "move d p/d"
        => ["p/", "p/d/ [700]"];
        "Place and mode are apart.";
    retype_and_rename_of_a_directory: "mkdir d; create d/f old"; "delete d; create d file" | "rename d e"
        => ["d = file", "e/", "e/f = old"];
        "The directory is used under its new name; the file has the old one.";
    retype_and_move_of_a_directory: "mkdir d; create d/f old; mkdir p";
        "delete d; create d file" | "move d p/d"
        => ["d = file", "p/", "p/d/", "p/d/f = old"];
        "The directory is used in its new place; the file has the old one.";
    retype_and_delete_of_a_directory: "mkdir d; create d/f old"; "delete d; create d file" | "delete d"
        => ["d = file"];
        "The new file was never deleted.";
    retype_and_chmod_of_a_directory: "mkdir d"; "delete d; create d file" | "chmod d 700"
        => ["d = file"];
        "A mode does not bring a deleted directory back.";
    retype_and_retype_of_a_directory: "mkdir d"; "delete d; create d one" | "delete d; link d t"
        => ["d (conflict)* = one", "d -> t"];
        "Two creates under one name: both are kept, and the identity decides, for all.";
    rename_of_parent_and_rename_of_child: "mkdir d; mkdir d/s; create d/s/f old";
        "rename d e" | "rename d/s d/t"
        => ["e/", "e/t/", "e/t/f = old"];
        "Two entries, two places.";
    move_of_parent_and_move_of_child_out: "mkdir d; mkdir d/s; create d/s/f old; mkdir p";
        "move d p/d" | "move d/s s"
        => ["p/", "p/d/", "s/", "s/f = old"];
        "Two entries, two places.";
    move_into_a_directory_and_its_delete: "mkdir d; mkdir p; create d/f old"; "move d p/d" | "delete p"
        => ["p/", "p/d/", "p/d/f = old"];
        "What the delete has not seen there stays, with all that is in it.";
    move_into_a_child_and_move_of_the_child: "mkdir d; mkdir d/s; mkdir p"; "move p d/s/p" | "move d/s p/s"
        => ["d/", "d/s/", "d/s/p/"];
        "Of the circle the later move is shown where it came from.";
    rename_and_mkdir_at_the_old_name: "mkdir d; create d/f old"; "rename d e" | "create d/g new"
        => ["e/", "e/f = old", "e/g = new"];
        "What was made in the directory follows it.";
}
