//! One changes a file, the other the directory that it is in.

crate::rows! {
    create_and_rename_of_parent: "mkdir d"; "create d/f new" | "rename d e"
        => ["e/", "e/f = new"];
        "The directory keeps its identity under its new name.";
    create_and_move_of_parent: "mkdir d; mkdir p"; "create d/f new" | "move d p/d"
        => ["p/", "p/d/", "p/d/f = new"];
        "The directory keeps its identity in its new place.";
    create_and_delete_of_parent: "mkdir d; create d/g old"; "create d/f new" | "delete d"
        => ["d/", "d/f = new"];
        "What the delete has not seen stays, and keeps its directory; its siblings go.";
    create_and_chmod_of_parent: "mkdir d"; "create d/f new" | "chmod d 700"
        => ["d/ [700]", "d/f = new"];
        "They have nothing to do with each other.";
    create_and_retype_of_parent: "mkdir d"; "create d/f new" | "delete d; create d file"
        => ["d (conflict)* = file", "d/", "d/f = new"];
        "The directory is needed for the new file; directories have the name.";
    edit_and_rename_of_parent: "mkdir d; create d/f old"; "edit d/f new" | "rename d e"
        => ["e/", "e/f = new"];
        "An edit follows the directory's rename.";
    edit_and_move_of_parent: "mkdir d; create d/f old; mkdir p"; "edit d/f new" | "move d p/d"
        => ["p/", "p/d/", "p/d/f = new"];
        "An edit follows the directory's move.";
    edit_and_delete_of_parent: "mkdir d; create d/f old; create d/g old";
        "edit d/f new" | "delete d"
        => ["d/", "d/f = new"];
        "The edited file stays, its sibling goes.";
    edit_and_chmod_of_parent: "mkdir d; create d/f old"; "edit d/f new" | "chmod d 700"
        => ["d/ [700]", "d/f = new"];
        "They have nothing to do with each other.";
    edit_and_retype_of_parent: "mkdir d; create d/f old"; "edit d/f new" | "delete d; link d t"
        => ["d (conflict)* -> t", "d/", "d/f = new"];
        "The directory is needed for the edited file.";
    rename_and_rename_of_parent: "mkdir d; create d/f old"; "rename d/f d/g" | "rename d e"
        => ["e/", "e/g = old"];
        "Two entries, two places.";
    rename_and_move_of_parent: "mkdir d; create d/f old; mkdir p";
        "rename d/f d/g" | "move d p/d"
        => ["p/", "p/d/", "p/d/g = old"];
        "Two entries, two places.";
    rename_and_delete_of_parent: "mkdir d; create d/f old; create d/g old";
        "rename d/f d/h" | "delete d"
        => ["d/", "d/h = old"];
        "The renamed file is used, so it stays; its sibling goes.";
    rename_and_chmod_of_parent: "mkdir d; create d/f old"; "rename d/f d/g" | "chmod d 700"
        => ["d/ [700]", "d/g = old"];
        "They have nothing to do with each other.";
    rename_and_retype_of_parent: "mkdir d; create d/f old";
        "rename d/f d/g" | "delete d; create d file"
        => ["d (conflict)* = file", "d/", "d/g = old"];
        "The directory is needed for the renamed file.";
    move_out_and_rename_of_parent: "mkdir d; create d/f old"; "move d/f f" | "rename d e"
        => ["e/", "f = old"];
        "Two entries, two places.";
    move_out_and_move_of_parent: "mkdir d; create d/f old; mkdir p"; "move d/f f" | "move d p/d"
        => ["f = old", "p/", "p/d/"];
        "Two entries, two places.";
    move_out_and_delete_of_parent: "mkdir d; create d/f old"; "move d/f f" | "delete d"
        => ["f = old"];
        "What was moved out is not in the directory any more.";
    move_out_and_chmod_of_parent: "mkdir d; create d/f old"; "move d/f f" | "chmod d 700"
        => ["d/ [700]", "f = old"];
        "They have nothing to do with each other.";
    move_out_and_retype_of_parent: "mkdir d; create d/f old";
        "move d/f f" | "delete d; create d file"
        => ["d = file", "f = old"];
        "Nothing needs the directory any more.";
    move_in_and_rename_of_parent: "mkdir d; create f old"; "move f d/f" | "rename d e"
        => ["e/", "e/f = old"];
        "The directory keeps its identity under its new name.";
    move_in_and_move_of_parent: "mkdir d; create f old; mkdir p"; "move f d/f" | "move d p/d"
        => ["p/", "p/d/", "p/d/f = old"];
        "The directory keeps its identity in its new place.";
    move_in_and_delete_of_parent: "mkdir d; create d/g old; create f old";
        "move f d/f" | "delete d"
        => ["d/", "d/f = old"];
        "What the delete has not seen there stays.";
    move_in_and_chmod_of_parent: "mkdir d; create f old"; "move f d/f" | "chmod d 700"
        => ["d/ [700]", "d/f = old"];
        "They have nothing to do with each other.";
    move_in_and_retype_of_parent: "mkdir d; create f old";
        "move f d/f" | "delete d; create d file"
        => ["d (conflict)* = file", "d/", "d/f = old"];
        "The directory is needed for what was moved into it.";
    delete_and_rename_of_parent: "mkdir d; create d/f old"; "delete d/f" | "rename d e"
        => ["e/"];
        "A directory's rename is no use of what is in it.";
    delete_and_move_of_parent: "mkdir d; create d/f old; mkdir p"; "delete d/f" | "move d p/d"
        => ["p/", "p/d/"];
        "A directory's move is no use of what is in it.";
    delete_and_delete_of_parent: "mkdir d; create d/f old"; "delete d/f" | "delete d"
        => [];
        "Both wanted it gone.";
    delete_and_chmod_of_parent: "mkdir d; create d/f old"; "delete d/f" | "chmod d 700"
        => ["d/ [700]"];
        "They have nothing to do with each other.";
    delete_and_retype_of_parent: "mkdir d; create d/f old";
        "delete d/f" | "delete d; create d file"
        => ["d = file"];
        "Both wanted the file gone.";
    chmod_and_rename_of_parent: "mkdir d; create d/f old"; "chmod d/f 600" | "rename d e"
        => ["e/", "e/f = old [600]"];
        "A mode follows the directory's rename.";
    chmod_and_move_of_parent: "mkdir d; create d/f old; mkdir p"; "chmod d/f 600" | "move d p/d"
        => ["p/", "p/d/", "p/d/f = old [600]"];
        "A mode follows the directory's move.";
    chmod_and_delete_of_parent: "mkdir d; create d/f old"; "chmod d/f 600" | "delete d"
        => [];
        "A mode is no content: nothing is lost with it.";
    chmod_and_chmod_of_parent: "mkdir d; create d/f old"; "chmod d/f 600" | "chmod d 700"
        => ["d/ [700]", "d/f = old [600]"];
        "Two entries, two modes.";
    chmod_and_retype_of_parent: "mkdir d; create d/f old";
        "chmod d/f 600" | "delete d; create d file"
        => ["d = file"];
        "A mode does not bring a deleted file back.";
    retype_and_rename_of_parent: "mkdir d; create d/f old";
        "delete d/f; link d/f t" | "rename d e"
        => ["e/", "e/f -> t"];
        "What was made follows the directory.";
    retype_and_move_of_parent: "mkdir d; create d/f old; mkdir p";
        "delete d/f; link d/f t" | "move d p/d"
        => ["p/", "p/d/", "p/d/f -> t"];
        "What was made follows the directory.";
    retype_and_delete_of_parent: "mkdir d; create d/f old"; "delete d/f; link d/f t" | "delete d"
        => ["d/", "d/f -> t"];
        "The delete has not seen the new link.";
    retype_and_chmod_of_parent: "mkdir d; create d/f old";
        "delete d/f; link d/f t" | "chmod d 700"
        => ["d/ [700]", "d/f -> t"];
        "They have nothing to do with each other.";
    retype_and_retype_of_parent: "mkdir d; create d/f old";
        "delete d/f; link d/f t" | "delete d; create d file"
        => ["d (conflict)* = file", "d/", "d/f -> t"];
        "The directory is needed for the new link.";
}
