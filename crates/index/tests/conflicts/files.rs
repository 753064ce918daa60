//! Both change the same file or link.

crate::rows! {
    edit_and_edit: "create f old"; "edit f one" | "edit f two"
        => ["f (conflict)* = one", "f = two"];
        "Both contents are kept; the later one has the name.";
    edit_and_equal_edit: "create f old"; "edit f new" | "edit f new"
        => ["f = new"];
        "Equal contents are no conflict.";
    edit_and_rename: "create f old"; "edit f new" | "rename f g"
        => ["g = new"];
        "An edit follows the file to its new name.";
    edit_and_move: "mkdir d; create f old"; "edit f new" | "move f d/f"
        => ["d/", "d/f = new"];
        "An edit follows the file to its new directory.";
    edit_and_delete: "create f old"; "edit f new" | "delete f"
        => ["f = new"];
        "A delete takes only what it has seen, and it has not seen the edit.";
    edit_and_chmod: "create f old"; "edit f new" | "chmod f 600"
        => ["f = new [600]"];
        "Content and mode are apart.";
    edit_and_retype: "create f old"; "edit f new" | "delete f; link f target"
        => ["f (conflict)* -> target", "f = new"];
        "A change of type is a delete, which has not seen the edit, and a create.";
    rename_and_rename: "create f old"; "rename f g" | "rename f h"
        => ["h = old"];
        "One place wins, the later one; never two files.";
    rename_and_same_rename: "create f old"; "rename f g" | "rename f g"
        => ["g = old"];
        "Both wanted the same.";
    rename_and_move: "mkdir d; create f old"; "rename f g" | "move f d/f"
        => ["d/", "d/f = old"];
        "A place is name and directory in one: the later one wins whole.";
    move_and_rename: "mkdir d; create f old"; "move f d/f" | "rename f g"
        => ["d/", "g = old"];
        "A place is name and directory in one: the later one wins whole.";
    rename_twice_and_rename: "create f old"; "rename f g; rename g h" | "rename f i"
        => ["h = old"];
        "More moves beat a later clock: nobody's clock decides alone.";
    rename_and_delete: "create f old"; "rename f g" | "delete f"
        => ["g = old"];
        "The file is still used: the delete has not seen the rename.";
    rename_and_chmod: "create f old"; "rename f g" | "chmod f 600"
        => ["g = old [600]"];
        "Place and mode are apart.";
    rename_and_retype: "create f old"; "rename f g" | "delete f; link f target"
        => ["f -> target", "g = old"];
        "The renamed file lives on beside the new link.";
    move_and_move: "mkdir d; mkdir e; create f old"; "move f d/f" | "move f e/f"
        => ["d/", "e/", "e/f = old"];
        "One place wins, the later one; never two files.";
    move_and_delete: "mkdir d; create f old"; "move f d/f" | "delete f"
        => ["d/", "d/f = old"];
        "The file is still used: the delete has not seen the move.";
    move_and_chmod: "mkdir d; create f old"; "move f d/f" | "chmod f 600"
        => ["d/", "d/f = old [600]"];
        "Place and mode are apart.";
    move_and_retype: "mkdir d; create f old"; "move f d/f" | "delete f; mkdir f"
        => ["d/", "d/f = old", "f/"];
        "The moved file lives on; the new directory has the name.";
    delete_and_delete: "create f old"; "delete f" | "delete f"
        => [];
        "Both wanted the same.";
    delete_and_chmod: "create f old"; "delete f" | "chmod f 600"
        => [];
        "A mode is no content: nothing is lost with it.";
    delete_and_retype: "create f old"; "delete f" | "delete f; link f target"
        => ["f -> target"];
        "The new link was never deleted.";
    chmod_and_chmod: "create f old"; "chmod f 600" | "chmod f 700"
        => ["f = old [700]"];
        "The last writer of a mode wins.";
    chmod_and_retype: "create f old"; "chmod f 600" | "delete f; link f target"
        => ["f -> target"];
        "A mode does not bring a deleted file back.";
    retype_and_retype: "create f old"; "delete f; mkdir f" | "delete f; link f target"
        => ["f (conflict)* -> target", "f/"];
        "Two creates under one name: directories have the name.";
    retype_and_equal_retype: "create f old"; "delete f; link f t" | "delete f; link f t"
        => ["f -> t"];
        "Equal things made apart are one.";
    retarget_and_retarget: "link l old"; "retarget l one" | "retarget l two"
        => ["l (conflict)* -> one", "l -> two"];
        "Both targets are kept; links have no times, so the higher device and number decide.";
    retarget_and_delete: "link l old"; "retarget l new" | "delete l"
        => ["l -> new"];
        "A delete takes only what it has seen.";
    retarget_and_rename: "link l old"; "retarget l new" | "rename l m"
        => ["m -> new"];
        "A new target follows the link.";
    edit_and_recreate: "create f old"; "edit f new" | "delete f; create f again"
        => ["f (conflict)* = again", "f = new"];
        "The edited file was there first, so it has the name.";
    delete_and_recreate: "create f old"; "delete f" | "delete f; create f old"
        => ["f = old"];
        "What was made again is another file, which nobody deleted.";
    edit_and_two_edits: "create f old"; "edit f one" | "edit f two; edit f three"
        => ["f (conflict)* = one", "f = three"];
        "What was overwritten knowingly is gone; the rest is kept.";
}
